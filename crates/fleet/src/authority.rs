//! The authority chain: who may do what. Every node holds the whole of it and judges every entry itself.
//!
//! Each entry is signed by one key and names the entry before it, so that the order is its authors', not that of
//! whoever carries it. What holds as of an entry can be asked for any entry of the chain: changes name the one that
//! their author went by.

mod chain;
mod effect;
mod entry;
mod need;
mod refusal;
mod rule;
mod state;
mod statement;
mod timeline;

pub use chain::{Adopted, Authority, Fork};
pub use entry::{Entry, Genesis};
pub use refusal::Refusal;
pub use state::{Device, Holder, KeyRecord, OpenJoin, Proposal, SealOf, Standing, State, ThresholdOf, User};
pub use statement::{Statement, Trust};
