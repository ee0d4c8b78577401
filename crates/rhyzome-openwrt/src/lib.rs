//! The router agent: brings networks to OpenWrt routers through ubus and UCI.
//!
//! [`render`] turns a network that [`admission`] let pass into UCI sections, and knows no router. The agent's own part
//! stands beside it and does the talking. Sections whose names [`names::Names`] makes are ours; nothing else on a router
//! is ever touched.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod acl;
pub mod admission;
pub mod board;
pub mod bootstrap;
pub mod claims;
pub mod command;
pub mod configuration;
pub mod diary;
pub mod effect;
pub mod examination;
pub mod live_peers;
pub mod mark;
pub mod names;
pub mod plan;
pub mod render;
pub mod router;
pub mod segment;
pub mod target;
pub mod verification;
pub mod zone;
