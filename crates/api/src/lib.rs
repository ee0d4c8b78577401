//! The REST interface as types: resources, operations, events, problems, and the thin client that speaks it.
//!
//! The OpenAPI document is generated from these types. This crate knows no server and no database.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod agent;
pub mod client;
pub mod event;
pub mod image;
pub mod instance;
pub mod network;
pub mod operation;
pub mod peer;
pub mod problem;
pub mod reference;
pub mod resource;
pub mod time_format;

pub use agent::Agent;
pub use client::{Client, ClientError};
pub use event::Event;
pub use image::{Image, ImageCreate, ImageSpec, ImageStatus};
pub use instance::{Instance, InstanceCreate, InstanceSpec, InstanceStatus};
pub use network::{Network, NetworkCreate, NetworkSpec, NetworkStatus};
pub use operation::{Operation, OperationState};
pub use peer::{Peer, PeerCreate, PeerSpec, PeerStatus};
pub use problem::{Fault, Problem, ProblemKind};
pub use reference::Reference;
pub use resource::{Accepted, Condition, Kind, Page, State};
pub use time_format::Timestamp;
