//! The target on a real libvirtd with real machines, each test in network and mount namespaces of its own. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

mod crash;
mod ground;
mod lifecycle;
mod outage;
mod spoof;
mod wire;

/// The builder of the tiny image, which belongs to `rhyzomectl`; programs do not depend on each other's crates.
#[allow(dead_code)]
#[path = "../../../rhyzomectl/src"]
mod rhyzomectl {
    pub mod tiny_image;
}
