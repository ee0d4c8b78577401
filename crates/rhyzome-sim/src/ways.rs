//! The ways that simulated machines have to each other.

use std::net::Ipv4Addr;

use jobs::desired::SegmentKind;
use serde::Deserialize;
use types::HostAddr;

/// Where the network between the machines begins: addresses for measurements, which nobody routes (RFC 2544).
const UNDERLAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// What carries segments from one machine to others, the same for all; nothing, when left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ways {
    /// A trunk with VLANs.
    pub vlan: bool,
    /// A network between the machines, for VXLANs.
    pub vxlan: bool,
}

impl Ways {
    /// What a machine with these ways says that it can do.
    pub fn features(self) -> &'static [&'static str] {
        match (self.vlan, self.vxlan) {
            (false, false) => &[],
            (true, false) => &[SegmentKind::VLAN],
            (false, true) => &[SegmentKind::VXLAN],
            (true, true) => &[SegmentKind::VLAN, SegmentKind::VXLAN],
        }
    }

    /// The address of the machine in that place, counted from 0, in the network between them.
    pub fn underlay(self, place: usize) -> Option<HostAddr> {
        let address = u32::from(UNDERLAY).checked_add(u32::try_from(place).ok()?)?;
        HostAddr::try_from(Ipv4Addr::from(address)).ok().filter(|_| self.vxlan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_claims_the_ways_that_it_has() {
        assert_eq!(Ways::default().features(), [] as [&str; 0]);
        assert_eq!(Ways::default().underlay(3), None);
        let both = Ways { vlan: true, vxlan: true };
        assert_eq!(both.features(), ["segment-vlan", "segment-vxlan"]);
        assert_eq!(both.underlay(3).unwrap().ip(), Ipv4Addr::new(198, 18, 0, 4));
    }
}
