//! The whole, as people use it: `rhyzome up`, `rhyzomectl`, guests, WireGuard, and `rhyzome down`.
//!
//! The programs are the ones beside the test binary: build them first (`cargo build --workspace --bins`).
#![allow(clippy::unwrap_used, missing_docs)]

mod image;
mod installation;
mod laptop;
mod machine;
mod outside;
mod up;
mod whole;
