//! From columns to types.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use types::HostAddr;

use crate::{Result, StoreError};

/// Reads a text column through `FromStr`.
pub(crate) fn parse<T: FromStr<Err: Display>>(column: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| StoreError::Corrupt { column, detail: error.to_string() })
}

/// Reads an optional text column through `FromStr`.
pub(crate) fn parse_optional<T: FromStr<Err: Display>>(
    column: &'static str,
    text: Option<String>,
) -> Result<Option<T>> {
    text.map(|text| parse(column, &text)).transpose()
}

/// Reads a column of JSON.
pub(crate) fn json<T: DeserializeOwned>(column: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { column, detail: error.to_string() })
}

/// Reads an integer column into a narrower type.
pub(crate) fn narrow<N: TryFrom<i64, Error: Display>>(column: &'static str, number: i64) -> Result<N> {
    N::try_from(number).map_err(|error| StoreError::Corrupt { column, detail: error.to_string() })
}

/// Reads an address column.
pub(crate) fn address(column: &'static str, number: i64) -> Result<HostAddr> {
    let bits: u32 = narrow(column, number)?;
    HostAddr::try_from(Ipv4Addr::from(bits)).map_err(|error| StoreError::Corrupt { column, detail: error.to_string() })
}

/// Writes an address column.
pub(crate) fn address_number(address: HostAddr) -> i64 {
    i64::from(u32::from(address.ip()))
}

/// Writes a counter, none of which passes 2^63.
pub(crate) fn counter(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
