//! The hypervisor agent: segments, images and instances on one host, by libvirt and QEMU.
//!
//! [`hypervisor::Hypervisor`] is the target that the agent runtime of `jobs` works. What it makes on the host bears a
//! [`mark::Mark`] where it lives, so that what is held is read from the host and not from a file beside it. This crate
//! knows neither the core's database nor the router: it only hands its end of a segment into the router's namespace.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod capacity;
pub mod cleanup;
pub mod configuration;
pub mod hypervisor;
pub mod libvirt;
pub mod libvirtd;
pub mod mark;

mod accelerator;
mod failure;
mod image;
mod instance;
mod program;
mod segment;
mod storage;
mod tap_filter;
mod xml;
