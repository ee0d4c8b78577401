//! The client against a web server with faults, and the transaction against an rpcd with faults.

#![allow(clippy::unwrap_used, missing_docs)]

mod client;
#[cfg(feature = "https")]
mod https;
mod rpcd;
mod transaction;
#[cfg(feature = "https")]
mod web;
