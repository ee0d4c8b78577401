//! A small router in a Linux network namespace that is configured like OpenWrt: ubus JSON-RPC over HTTPS, rpcd's
//! sessions and UCI staging, and behind them real bridges, addresses, dnsmasq, nftables and WireGuard.
//!
//! [`rpcd::Rpcd`] decides and does no more input and output than its UCI files need; [`router::Router`] joins it to a
//! [`router::Machine`]; [`server::Server`] speaks HTTPS.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod account;
pub mod acl;
pub mod command;
pub mod configs;
pub mod crypt;
pub mod disk;
pub mod files;
pub mod glob;
pub mod json;
mod object;
pub mod question;
pub mod router;
pub mod rpc;
pub mod rpcd;
pub mod server;
pub mod session;
pub mod signature;
pub mod status;
pub mod tls;
pub mod tree;
