//! The HTTP API: who calls, what they ask, and what the core answers. No query of the database stands here.

mod access;
mod agent;
mod body;
mod content;
mod deadline;
mod document;
mod event;
mod extract;
mod filter;
mod health;
mod host;
mod idempotency;
mod linger;
mod listener;
mod operation;
mod rate;
mod reply;
mod resource;
mod restart;
mod route;

pub use access::{SignedIn, TOKEN_PREFIX, digest};
pub use document::openapi;
pub use listener::serve;
pub use rate::Limits;
pub use resource::find;
#[cfg(test)]
pub use {filter::ListQuery, resource::page};
