//! Names: of resources, tenants, hosts and domains.

use std::fmt;
use std::str::FromStr;

use crate::{ParseError, ResourceId};

/// Whether `text` is a DNS label in lower case (RFC 1123): letters, digits and inner hyphens, 1 to 63 characters.
fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

macro_rules! names {
    ($($name:ident $expected:literal $example:literal $check:expr, $doc:literal;)*) => {$(
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
                let check: fn(&str) -> bool = $check;
                match check(text) {
                    true => Ok(Self(text.to_owned())),
                    false => Err(ParseError::new(text, $expected)),
                }
            }
        }

        text_type!($name, $example, $doc);
    )*};
}

names! {
    ResourceName
        "a name (1 to 63 lower-case letters, digits and inner hyphens, and not of an id's shape)"
        "web-1"
        |text| is_label(text) && !ResourceId::looks_like(text),
        "A resource's name, unique in tenant and kind: 1 to 63 lower-case letters, digits and inner hyphens; never of an id's shape.";
    TenantName
        "a tenant (1 to 32 lower-case letters and digits)"
        "collective"
        |text| (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "An organisation: 1 to 32 lower-case letters and digits.";
    HostName
        "a host name (1 to 63 lower-case letters, digits and inner hyphens)"
        "web-1"
        is_label,
        "A host name, one DNS label (RFC 1123) in lower case.";
    DomainName
        "a domain name (labels of lower-case letters, digits and hyphens joined by dots, 253 characters at most)"
        "home.internal"
        |text| text.len() <= 253 && text.split('.').all(is_label),
        "A domain name (RFC 1123) in lower case without the final dot.";
}

impl From<&ResourceName> for HostName {
    fn from(name: &ResourceName) -> Self {
        Self(name.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkId;

    #[test]
    fn names_are_labels_and_no_ids() {
        assert!("web-1".parse::<ResourceName>().is_ok());
        for bad in ["", "-a", "a-", "A", "a_b", "a\u{7}", "é", &"a".repeat(64), &NetworkId::from_bits(1).to_string()] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn domains_are_labels_joined_by_dots() {
        assert!("home.internal".parse::<DomainName>().is_ok());
        for bad in ["", ".", "a..b", "a.", &"a.".repeat(200)] {
            assert!(bad.parse::<DomainName>().is_err(), "{bad:?}");
        }
    }
}
