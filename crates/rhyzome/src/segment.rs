//! Segments: how networks' layer 2 reaches hypervisors, the same for the whole installation.

use jobs::Object;
use jobs::desired::{SegmentKind, Vxlan};
use jobs::observed::Capacity;
use serde::Deserialize;
use store::{Caller, Session, StoreError, Write};
use types::{Mtu, NetworkId, Port, Segment, TargetId};

use crate::render::{self, read};

/// What VXLAN adds to a packet over IPv4: Ethernet, IP, UDP and its own header (RFC 7348, section 5).
const VXLAN_OVERHEAD: u16 = 50;
/// The highest VLAN (IEEE 802.1Q).
const LAST_VLAN: u32 = 4094;

/// The setting `segments`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Segments {
    /// Every hypervisor has a bridge, which an embedded router on the same host joins.
    #[default]
    Bridge,
    /// A trunk carries a VLAN for each network.
    Vlan {
        /// The VLAN of segment 1; segment n has the one n - 1 above it.
        #[serde(default = "first_vlan")]
        first_vlan: u16,
    },
    /// Hosts and routers carry a VXLAN for each network over the network between them; its VNI is the segment's number.
    Vxlan {
        /// The largest packet of the network between them.
        #[serde(default = "underlay_mtu")]
        underlay_mtu: Mtu,
    },
}

fn first_vlan() -> u16 {
    1000
}

fn underlay_mtu() -> Mtu {
    Mtu::try_from(1500).expect("invariant: an MTU")
}

impl Segments {
    /// What a hypervisor must be able to do to carry a segment.
    pub const fn feature(self) -> Option<&'static str> {
        match self {
            Self::Bridge => None,
            Self::Vlan { .. } => Some(SegmentKind::VLAN),
            Self::Vxlan { .. } => Some(SegmentKind::VXLAN),
        }
    }

    /// The largest packet of a network that asks for `asked`.
    pub fn mtu(self, asked: Mtu) -> Mtu {
        let Self::Vxlan { underlay_mtu } = self else { return asked };
        let room = underlay_mtu.get().saturating_sub(VXLAN_OVERHEAD);
        Mtu::try_from(i64::from(room)).map_or(asked, |room| asked.min(room))
    }

    /// Whether a segment of that number can be carried.
    pub fn require(self, segment: Segment) -> Result<(), StoreError> {
        self.vlan(segment).map(drop)
    }

    fn vlan(self, segment: Segment) -> Result<Option<u16>, StoreError> {
        let Self::Vlan { first_vlan } = self else { return Ok(None) };
        let id = u32::from(first_vlan).saturating_add(segment.get() - 1);
        match u16::try_from(id) {
            Ok(id) if (1..=LAST_VLAN).contains(&u32::from(id)) => Ok(Some(id)),
            _ => Err(StoreError::Exhausted { what: "VLAN" }),
        }
    }

    /// How a network's segment reaches its hosts.
    pub async fn kind(
        self,
        session: &mut Session<'_, Write>,
        network: NetworkId,
        also: TargetId,
    ) -> Result<SegmentKind, StoreError> {
        let caller = Caller::core();
        let segment = session.segment(&caller, network).await?;
        if let Some(id) = self.vlan(segment)? {
            return Ok(SegmentKind::Vlan { id });
        }
        let Self::Vxlan { .. } = self else { return Ok(SegmentKind::Bridge) };
        let mut on_it = session.holders(&caller, &Object::Segment(network).to_string()).await?;
        on_it.insert(also);
        on_it.insert(session.slot(&caller, network).await?.0);
        let mut remotes = std::collections::BTreeSet::new();
        for row in session.targets(&caller, None).await?.into_iter().filter(|row| on_it.contains(&row.target.id)) {
            remotes.extend(read::<Capacity>("target.capacity", row.capacity)?.underlay);
        }
        Ok(SegmentKind::Vxlan(Vxlan { vni: segment.get(), remotes }))
    }

    /// Renders the segment for its router and the other hypervisors that hold it, who have to know who is on it.
    pub async fn tell_others(
        self,
        session: &mut Session<'_, Write>,
        network: NetworkId,
        except: TargetId,
        wireguard_first_port: Port,
    ) -> Result<(), StoreError> {
        let Self::Vxlan { .. } = self else { return Ok(()) };
        let caller = Caller::core();
        for other in session.holders(&caller, &Object::Segment(network).to_string()).await? {
            if other != except {
                render::segment(session, &caller, other, network, self).await?;
            }
        }
        render::network(session, &caller, network, wireguard_first_port, self).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Segments {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_come_from_the_segment() {
        let segment = |number: u32| Segment::try_from(number).unwrap();
        let vlans = read(r#"{"kind": "vlan", "first_vlan": 1000}"#);
        assert_eq!(vlans.vlan(segment(31)).unwrap(), Some(1030));
        assert_eq!(vlans.vlan(segment(3095)).unwrap(), Some(4094));
        assert!(vlans.require(segment(3096)).is_err());
        assert_eq!(read(r#"{"kind": "bridge"}"#).vlan(segment(3096)).unwrap(), None);
    }

    #[test]
    fn vxlan_takes_its_share_of_every_packet() {
        let mtu = |number: i64| Mtu::try_from(number).unwrap();
        let overlay = read(r#"{"kind": "vxlan"}"#);
        assert_eq!((overlay.mtu(mtu(1500)), overlay.mtu(mtu(1400))), (mtu(1450), mtu(1400)));
        assert_eq!(Segments::Bridge.mtu(mtu(1500)), mtu(1500));
    }
}
