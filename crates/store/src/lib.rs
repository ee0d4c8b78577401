//! The database: what people asked for, what was allotted, and what became of it.
//!
//! A [`Store`] opens [`Session`]s, each one transaction; every call takes the [`Caller`] and sees that caller's tenant
//! alone. SQLite (one writer with BEGIN IMMEDIATE and synchronous=FULL, readers beside it) or PostgreSQL (SERIALIZABLE, run
//! again on contention) lies behind it; one text of a query serves both. This crate knows no HTTP, no job protocol and no kind's spec: specs,
//! statuses and desired states pass through as JSON.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod agent;
mod allocation;
mod backup;
mod caller;
mod column;
mod contention;
mod database;
mod error;
mod event;
mod filter;
mod hint;
mod idempotency;
mod installation;
mod invariant;
mod inventory;
mod job;
mod migration;
mod operation;
mod pause;
mod placement;
mod pool;
mod reader;
mod replica;
mod resource;
mod secret;
mod session;
mod standing;
mod statement;
mod token;
mod transaction;

pub use agent::{AgentRow, EnrolledAgent, IdleTarget, NewConnection, NewInvitation, TargetRow};
pub use allocation::{AdmissionRow, LeaseRow};
pub use backup::{place_copy, put_in_place};
pub use caller::Caller;
#[doc(hidden)]
pub use contention::{Runs, Urgency};
pub use database::{Database, Postgres};
pub use error::{Constraint, StoreError};
pub use event::{EventRow, NewEvent};
pub use filter::Filter;
pub use hint::Hearing;
pub use idempotency::AnswerRow;
pub use installation::Installation;
pub use invariant::{TABLES, Violation};
pub use inventory::HeldRow;
pub use job::{JobReport, JobRow};
pub use operation::{Claim, NewOperation, OperationRow, StepRow};
pub use placement::{Availability, HypervisorRow, Taken};
pub use replica::ReplicaRow;
pub use resource::{ConditionRow, HolderRow, NewResource, ResourceRow};
pub use secret::SecretKey;
pub use session::{Read, Session, Store, Write};
pub use standing::{AgentRecord, Standing};
pub use token::TokenRow;

/// The result of every call into the database.
pub type Result<T> = std::result::Result<T, StoreError>;
