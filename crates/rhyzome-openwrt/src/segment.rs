//! How networks' segments reach the router.

use serde::Deserialize;
use types::Segment;

/// The setting `segments`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Segments {
    /// The router lies in a namespace of the hypervisor, and each segment's bridge there has a veth into it.
    Bridge {},
}

impl Segments {
    /// The ports of the bridge that the network on `segment` has on the router.
    pub fn bridge_ports(self, segment: Segment) -> Vec<String> {
        match self {
            Self::Bridge {} => vec![segment.router_end()],
        }
    }
}
