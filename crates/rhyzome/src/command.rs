//! The command lines of `rhyzome` beside `serve`, `up` and `down`.

pub mod admin;
pub mod output;
pub mod pki;
pub mod table;
