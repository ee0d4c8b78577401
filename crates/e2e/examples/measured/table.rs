//! The form in which figures are printed: a line each with what it is, what is aimed at, what was measured and, for
//! figures of the core, the same over PostgreSQL. Tabs stand between them; bench/run makes one table of all.

#![allow(dead_code)] // each measurement uses a part

/// Prints one figure.
pub fn row(figure: &str, aim: &str, measured: &str, on_postgres: &str) {
    println!("{figure}\t{aim}\t{measured}\t{on_postgres}");
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
