//! The core as its callers and agents meet it: the program itself, over TLS, with simulated targets.
#![allow(clippy::unwrap_used, missing_docs)]

mod bad_input;
mod certificate;
mod document;
mod enrolment;
mod filter;
mod generation;
mod guard;
mod idempotency;
mod image_source;
mod image_upload;
mod image_url;
mod installation;
mod lifecycle;
mod opening;
mod persona;
mod placement;
mod recovery;
mod refusal;
mod replica;
mod secrecy;
mod segment;
mod stranger;
mod unread_target;
mod version_one;
