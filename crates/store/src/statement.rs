//! A statement in SQL that every engine takes, with the values that it is about.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// One query: its text, with `$1`, `$2`, … where values belong, and the values in that order.
///
/// The text must mean the same in SQLite and PostgreSQL: `ON CONFLICT` and `RETURNING` do, `INSERT OR IGNORE` and
/// functions of dates do not. Columns are BIGINT, TEXT and bytes; what is true is 1, what is false 0.
pub(crate) struct Statement {
    pub(crate) text: SqlStr,
    pub(crate) values: Vec<Value>,
}

/// A value of a statement.
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A statement without values yet.
pub(crate) fn sql(text: &'static str) -> Statement {
    Statement { text: SqlStr::from_static(text), values: Vec::new() }
}

/// A statement whose text was put together, of constants alone.
pub(crate) fn built(text: String, values: Vec<Value>) -> Statement {
    Statement { text: AssertSqlSafe(text).into_sql_str(), values }
}

impl Statement {
    /// Gives the next value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

/// From what a value of each variant is made.
macro_rules! values {
    ($($variant:ident from $owned:ty, $($other:ty),*;)*) => {$(
        impl From<$owned> for Value {
            fn from(value: $owned) -> Self {
                Self::$variant(Some(value))
            }
        }

        impl From<Option<$owned>> for Value {
            fn from(value: Option<$owned>) -> Self {
                Self::$variant(value)
            }
        }

        $(
            impl From<$other> for Value {
                fn from(value: $other) -> Self {
                    Self::$variant(Some(value.into()))
                }
            }

            impl From<Option<$other>> for Value {
                fn from(value: Option<$other>) -> Self {
                    Self::$variant(value.map(Into::into))
                }
            }
        )*
    )*};
}

values! {
    Integer from i64, u32;
    Text from String, &str, &String;
    Bytes from Vec<u8>, &[u8];
}

#[cfg(test)]
mod tests {
    /// SQLite compiles a statement again whenever another value is bound to the right of a LIKE, which costs ten times
    /// what running it does; an expression it does not look into.
    #[test]
    fn no_pattern_is_a_value_alone() {
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut patterns = 0;
        for file in std::fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path()) {
            let text = std::fs::read_to_string(&file).unwrap();
            for (place, _) in text.match_indices("LIKE ") {
                let pattern = text[place + 5..].trim_start_matches(['\\', '\n', ' ']);
                let Some(value) = pattern.strip_prefix(['$', '?']) else { continue };
                let after = value.trim_start_matches(|next: char| next.is_ascii_digit());
                let line = text[..place].lines().count();
                assert!(after.starts_with(" || ''"), "{}:{line}: a pattern without || ''", file.display());
                patterns += 1;
            }
        }
        assert!(patterns > 50, "only {patterns} patterns were found");
    }
}
