//! The ground that end-to-end tests and benchmarks stand on: a machine of their own, an internet, an installation.
//!
//! The programs are the ones beside the test binary: build them first (`cargo build --workspace --bins`).
#![allow(clippy::unwrap_used)]

pub mod image;
pub mod installation;
pub mod laptop;
pub mod machine;
pub mod outside;
