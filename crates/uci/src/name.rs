//! Names, checked once: of packages, sections, section types and options.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A package: one file of `/etc/config`.
    Package,
    /// A section.
    Section,
    /// The type of a section.
    SectionType,
    /// An option or list.
    Option,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Package => "package name",
            Self::Section => "section name",
            Self::SectionType => "section type",
            Self::Option => "option name",
        })
    }
}

/// A text that cannot be the name it was meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no {kind}: expected {expected}")]
pub struct NameError {
    /// What the text was to name.
    pub kind: NameKind,
    /// The text.
    pub name: String,
    /// What such a name is made of.
    pub expected: &'static str,
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_dashed_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_graphic(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}

const WORD: &str = "letters, digits and '_'";
const DASHED_WORD: &str = "letters, digits, '_' and '-'";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:expr, $accepts:path, $expected:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the text and takes it as a name.
            ///
            /// # Errors
            /// When the text is empty or holds a character that such a name may not have.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if $accepts(&name) {
                    Ok(Self(name))
                } else {
                    Err(NameError { kind: $kind, name, expected: $expected })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }
    };
}

name!(
    /// The name of a package, `network` for `/etc/config/network`: `[A-Za-z0-9_-]+`.
    PackageName,
    NameKind::Package,
    is_dashed_word,
    DASHED_WORD
);
name!(
    /// The name of a section, or the id that libuci gives to an anonymous one: `[A-Za-z0-9_]+`.
    SectionName,
    NameKind::Section,
    is_word,
    WORD
);
name!(
    /// The type of a section: `[A-Za-z0-9_-]+`, as rpcd demands. Files may hold more: see [`SectionType::as_read`].
    SectionType,
    NameKind::SectionType,
    is_dashed_word,
    DASHED_WORD
);
name!(
    /// The name of an option or list: `[A-Za-z0-9_]+`.
    OptionName,
    NameKind::Option,
    is_word,
    WORD
);

impl SectionName {
    /// The id of the anonymous section that is the `position`th of its package (from 1): `cfg`, the position in two or
    /// more hex digits, and the low 16 bits of the type's djb2 hash.
    pub(crate) fn anonymous(position: usize, kind: &SectionType) -> Self {
        let hash = kind.0.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)));
        Self(format!("cfg{position:02x}{:04x}", hash & 0xffff))
    }
}

impl SectionType {
    /// Takes a type as libuci accepts it in a file: any printable ASCII without spaces. rpcd refuses to make sections of
    /// the types that only this accepts.
    ///
    /// # Errors
    /// When the text is empty or holds anything else.
    pub fn as_read(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if is_graphic(&name) {
            Ok(Self(name))
        } else {
            Err(NameError { kind: NameKind::SectionType, name, expected: "printable ASCII without spaces" })
        }
    }

    /// Whether rpcd would make a section of this type.
    #[must_use]
    pub fn is_portable(&self) -> bool {
        is_dashed_word(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_letters_digits_and_underscores() {
        for good in ["lan", "9lives", "42", "_Big_", &"n".repeat(300)] {
            assert!(SectionName::new(good).is_ok(), "{good}");
            assert!(OptionName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a-b", "a.b", "a b", "ä", "@toy[0]", "a\n"] {
            assert!(SectionName::new(bad).is_err(), "{bad}");
            assert!(OptionName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_and_packages_may_have_dashes() {
        assert!(SectionType::new("my-type").is_ok());
        assert!(PackageName::new("https-dns-proxy").is_ok());
        for bad in ["", "my type", "my.type", "a/b"] {
            assert!(SectionType::new(bad).is_err(), "{bad}");
            assert!(PackageName::new(bad).is_err(), "{bad}");
        }
        assert!(SectionType::as_read("my.type").is_ok_and(|kind| !kind.is_portable()));
        assert!(SectionType::as_read("my type").is_err());
    }

    #[test]
    fn an_error_names_the_text_and_what_was_expected() {
        let error = OptionName::new("a-b").unwrap_err();
        assert_eq!(error.to_string(), "\"a-b\" is no option name: expected letters, digits and '_'");
    }

    #[test]
    fn anonymous_ids_are_those_of_libuci() {
        let toy = SectionType::new("toy").unwrap();
        assert_eq!(SectionName::anonymous(2, &toy).as_str(), "cfg02af21");
        assert_eq!(SectionName::anonymous(14, &toy).as_str(), "cfg0eaf21");
        assert_eq!(SectionName::anonymous(300, &toy).as_str(), "cfg12caf21");
    }
}
