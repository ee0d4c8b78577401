//! Names that people give: groups, users, devices.

use std::fmt;
use std::str::FromStr;

use types::ParseError;

/// Lower-case letters, digits and inner hyphens, 1 to 32 characters: one segment of a section's path.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

macro_rules! names {
    ($($name:ident $expected:literal, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                is_name(text).then(|| Self(text.to_owned())).ok_or_else(|| ParseError::new(text, $expected))
            }
        }
    )*};
}

names! {
    GroupName "a group (1 to 32 lower-case letters, digits and inner hyphens)", "A group of devices.";
    UserName "a user (1 to 32 lower-case letters, digits and inner hyphens)", "A person who may sign changes.";
    DeviceName "a device's name (1 to 32 lower-case letters, digits and inner hyphens)", "What people call a device.";
}

cbor_texts! { GroupName "a group's name"; UserName "a user's name"; DeviceName "a device's name"; }
