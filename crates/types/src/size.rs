//! Sizes: memory, disks, processors, MTU.

use std::fmt;

use crate::ParseError;

macro_rules! bounded {
    ($($name:ident($inner:ty) $min:literal..=$max:literal $unit:literal $expected:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name($inner);

        impl $name {
            /// The number, in the type's unit.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = ParseError;
            fn try_from(number: i64) -> Result<Self, ParseError> {
                match <$inner>::try_from(number) {
                    Ok(value) if ($min..=$max).contains(&value) => Ok(Self(value)),
                    _ => Err(ParseError::new(&number.to_string(), $expected)),
                }
            }
        }

        impl From<$name> for i64 {
            fn from(size: $name) -> Self {
                size.0 as Self
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}{}", self.0, $unit)
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::Integer)
                    .description(Some($doc))
                    .minimum(Some({ const MIN: $inner = $min; MIN as f64 }))
                    .maximum(Some({ const MAX: $inner = $max; MAX as f64 }))
                    .build()
                    .into()
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}
    )*};
}

bounded! {
    MemorySize(u32) 32..=4_194_304 " MiB" "a memory size in MiB (32 to 4194304)" "Memory in MiB.";
    Vcpus(u16) 1..=512 "" "a number of processors (1 to 512)" "A number of virtual processors.";
    Mtu(u16) 576..=9216 "" "an MTU (576 to 9216)" "The largest packet of a network, in bytes.";
    ByteSize(u64) 1..=1_125_899_906_842_624 " B" "a size in bytes (1 to 2^50)" "A size in bytes.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold() {
        assert!(MemorySize::try_from(31).is_err());
        assert!(MemorySize::try_from(-1).is_err());
        assert_eq!(MemorySize::try_from(64).unwrap().to_string(), "64 MiB");
        assert!(serde_json::from_str::<Mtu>("70000").is_err());
    }
}
