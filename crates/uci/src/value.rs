//! The value of an option: one text, or a list of texts.

/// The value of an option or list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// `option name 'text'`.
    Scalar(String),
    /// One `list name 'text'` line an item.
    List(Vec<String>),
}

/// A value that UCI, or the way to it through rpcd, cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A control character: rpcd's record of staged changes breaks on it.
    #[error("the value holds the control character U+{:04X}: expected none but tab, newline and return", u32::from(*.0))]
    ControlCharacter(char),
    /// A list without items: UCI has no way to write it.
    #[error("the list is empty: expected at least one item")]
    EmptyList,
}

impl Value {
    /// The items: of a list all, of a scalar the one.
    #[must_use]
    pub fn items(&self) -> &[String] {
        match self {
            Self::Scalar(text) => std::slice::from_ref(text),
            Self::List(items) => items,
        }
    }

    /// The text of a scalar.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => Some(text),
            Self::List(_) => None,
        }
    }

    /// Whether the value can be staged through rpcd and read back.
    ///
    /// # Errors
    /// Names what is wrong: a control character, or a list without items.
    pub fn check(&self) -> Result<(), ValueError> {
        let items = self.items();
        if items.is_empty() {
            return Err(ValueError::EmptyList);
        }
        match items.iter().flat_map(|item| item.chars()).find(|c| is_forbidden(*c)) {
            Some(c) => Err(ValueError::ControlCharacter(c)),
            None => Ok(()),
        }
    }

    /// Whether this is the empty text, which UCI does not keep: to set it is to remove the option.
    pub(crate) fn is_empty_text(&self) -> bool {
        matches!(self, Self::Scalar(text) if text.is_empty())
    }
}

fn is_forbidden(c: char) -> bool {
    c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r')
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Scalar(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Scalar(text)
    }
}

impl From<bool> for Value {
    fn from(on: bool) -> Self {
        Self::from(if on { "1" } else { "0" })
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Scalar(number.to_string())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Scalar(number.to_string())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Scalar(number.to_string())
    }
}

impl From<Vec<String>> for Value {
    fn from(items: Vec<String>) -> Self {
        Self::List(items)
    }
}

impl From<&[&str]> for Value {
    fn from(items: &[&str]) -> Self {
        items.iter().copied().collect()
    }
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(items: [&str; N]) -> Self {
        items.into_iter().collect()
    }
}

impl<T: Into<String>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused_by_name() {
        assert_eq!(Value::from("a\tb\r\nc").check(), Ok(()));
        assert_eq!(Value::from("Grüße 日本 🙂").check(), Ok(()));
        let error = Value::from(["good", "bad\u{1b}"]).check().unwrap_err();
        assert!(error.to_string().contains("U+001B"), "{error}");
        assert!(Value::from("\u{7f}").check().is_err());
    }

    #[test]
    fn an_empty_list_is_refused_but_not_an_empty_item() {
        assert_eq!(Value::List(Vec::new()).check(), Err(ValueError::EmptyList));
        assert_eq!(Value::from(["p", "", "q"]).check(), Ok(()));
    }
}
