//! The library from outside: whole logs, good and bad, and a second implementation that reads them.
#![allow(clippy::unwrap_used, missing_docs)]

mod authority;
mod bad_input;
mod checker;
mod founded;
mod hostile;
mod vector;
