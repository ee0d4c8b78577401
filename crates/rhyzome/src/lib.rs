//! The core of Rhyzome: what people ask for over HTTP becomes resources, operations and jobs for agents.
//!
//! `http` takes requests and knows no query, `kind` has the rules of each kind, `acceptance` writes what was asked in one
//! transaction, `executor` brings it about through `render`ed jobs, `job_server` speaks with agents. `up` runs it all
//! on one machine.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acceptance;
pub mod command;
mod core;
mod download;
mod executor;
mod http;
mod idempotency;
mod image_file;
mod image_source;
mod job_server;
mod kind;
mod loss;
mod metric;
mod pace;
mod placement;
mod refusal;
mod render;
mod replica;
mod segment;
pub mod serve;
mod serve_config;
mod server_certificate;
mod signal;
pub mod up;

pub use http::openapi;
pub use serve_config::ServeConfig;
