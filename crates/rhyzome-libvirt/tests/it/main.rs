//! The target on a real libvirtd with real machines, each test in network and mount namespaces of its own. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

mod crash;
mod ground;
mod lifecycle;
mod outage;
mod overlay;
mod spoof;
mod wire;
