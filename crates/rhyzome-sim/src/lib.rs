//! Simulated hypervisors and routers over the real job protocol, by the thousand in one process, with faults on demand.
//!
//! A [`fleet`] is made from invitations; each member has an agent and a session of its own. [`order`] says what can be
//! done to members, a [`scenario`] when, and [`control`] takes orders while the fleet runs. How one simulated target
//! behaves is in [`jobs::simulated`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod control;
pub mod fleet;
pub mod member;
pub mod order;
pub mod scenario;
pub mod ways;
