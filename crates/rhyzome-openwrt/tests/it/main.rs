//! Tests of the router agent: its rendering, its behaviour against a scripted router, and the real thing against
//! `rhyzome-router`.
#![allow(clippy::unwrap_used, missing_docs)]

mod bad_router;
mod bootstrap;
mod fixture;
mod networks;
mod plan;
mod program;
mod real_router;
mod render;
mod scripted_router;
mod suite;
mod target;
