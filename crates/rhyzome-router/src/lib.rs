//! A small router in a Linux network namespace that is configured like OpenWrt: ubus JSON-RPC over HTTPS, rpcd's
//! sessions and UCI staging, and behind them real bridges, addresses, dnsmasq, nftables and WireGuard.
//!
//! [`rpcd::Rpcd`] decides and does no more input and output than its UCI files need; [`router::Router`] joins it to a
//! [`router::Machine`]; [`server::Server`] speaks HTTPS.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod account;
pub mod acl;
pub mod certificate;
pub mod command;
pub mod configs;
pub mod crypt;
pub mod dnsmasq;
pub mod fault;
pub mod files;
pub mod firewall;
pub mod glob;
pub mod json;
pub mod lease;
pub mod local_socket;
pub mod machine;
pub mod namespace;
pub mod network;
mod object;
pub mod process;
pub mod question;
pub mod router;
pub mod rpc;
pub mod rpcd;
pub mod server;
pub mod session;
pub mod settings;
pub mod signature;
pub mod state;
pub mod status;
pub mod system;
pub mod tool;
pub mod tree;
pub mod uplink;
pub mod wireguard;
