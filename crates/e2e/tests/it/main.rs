//! The whole, as people use it: `rhyzome up`, `rhyzomectl`, guests, WireGuard, and `rhyzome down`.
#![allow(clippy::unwrap_used, missing_docs)]

mod debian;
mod dusk_apply;
mod dusk_lab;
mod kill;
mod run;
mod sick_router;
mod up;
mod whole;
