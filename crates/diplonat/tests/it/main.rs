//! Diplonat on real parts: miniupnpd, nftables and packets in network namespaces.
#![allow(clippy::unwrap_used, missing_docs)]

mod consul;
mod dns;
mod fake_gateway;
mod gateway;
mod world;
