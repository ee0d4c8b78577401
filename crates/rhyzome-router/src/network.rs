//! netifd: the config `network` becomes bridges, addresses, routes and WireGuard interfaces.

pub mod observed;
pub mod plan;
pub mod reconcile;
pub mod rule;
pub mod status;
pub mod vxlan;
