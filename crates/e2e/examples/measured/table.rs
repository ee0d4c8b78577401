//! The form in which figures are printed: one table, whichever measurements fill it.

/// Prints one figure beside what is aimed at; the last column is for figures of the core over PostgreSQL.
pub fn row(figure: &str, aim: &str, measured: &str, on_postgres: &str) {
    println!("{figure:<62}  {aim:<16}  {measured:<20}  {on_postgres}");
}

/// Figures of one engine, in the order in which they were measured.
#[derive(Default)]
pub struct Figures(Vec<Figure>);

struct Figure {
    what: String,
    aim: &'static str,
    measured: String,
}

impl Figures {
    /// Notes a figure.
    pub fn note(&mut self, what: impl Into<String>, aim: &'static str, measured: impl Into<String>) {
        self.0.push(Figure { what: what.into(), aim, measured: measured.into() });
    }

    /// Prints the figures of both engines side by side, as far as they were measured.
    pub fn print(sqlite: &Self, postgres: &Self) {
        for Figure { what, aim, measured } in &sqlite.0 {
            row(what, aim, measured, postgres.of(what).unwrap_or_default());
        }
        for Figure { what, aim, measured } in postgres.0.iter().filter(|figure| sqlite.of(&figure.what).is_none()) {
            row(what, aim, "", measured);
        }
    }

    fn of(&self, what: &str) -> Option<&str> {
        self.0.iter().find(|figure| figure.what == what).map(|figure| figure.measured.as_str())
    }
}
