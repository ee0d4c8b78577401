//! The job protocol: what the core asks of its agents, and the runtime that every agent runs on.
//!
//! [`desired`] holds the desired states, [`job`] the envelope that carries them, [`proto`] the wire form. An agent
//! implements [`Target`] and hands it to [`agent`]. This crate knows neither libvirt nor OpenWrt nor the database.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod agent;
pub mod backoff;
pub mod bundle;
pub mod cache;
pub mod complaint;
pub mod connection;
pub mod convert;
pub mod core_image;
pub mod core_url;
pub mod credentials;
pub mod desired;
pub mod enrol;
pub mod greeting;
pub mod invitation;
pub mod job;
pub mod listener;
pub mod observed;
pub mod outbox;
pub mod queue;
pub mod refusal;
pub mod renewal;
pub mod secret_field;
pub mod session;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod target;
pub mod understood;

/// The wire form, generated from `proto/jobs.proto`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used)]
pub mod proto {
    tonic::include_proto!("rhyzome.jobs.v1");
}

pub use agent::{AgentConfig, AgentError, run, run_by};
pub use core_url::{CoreUrl, CoreUrls};
pub use greeting::{Hello, Reading, Welcome};
pub use invitation::Invitation;
pub use job::{EntryReport, Held, Job, Object, Outcome, Report, Want};
pub use refusal::Refusal;
pub use secret_field::SecretField;
pub use target::{Batching, Context, ImageSource, Observation, Observer, Target};

/// The version of the protocol that this crate speaks.
pub const PROTOCOL: u32 = 2;
/// The oldest version of agents that the core serves.
pub const OLDEST_PROTOCOL: u32 = 1;
