//! The names that a network has on its router. Every one of them derives from the slot.
//!
//! The stem is `rz` and the slot in hex, `rz2f`. Devices are the stem with something before or behind it, sections the
//! stem alone or with an underscore and a part, so that a name tells its slot and no two slots share one.

use types::{InstanceId, PeerId, Slot};

/// The names of the network in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Names(Slot);

impl Names {
    /// The names of the network in `slot`.
    pub const fn of(slot: Slot) -> Self {
        Self(slot)
    }

    /// The slot whose network a section belongs to, where it is one of ours: `rz2f`, `rz2fw`, `rz2fx` or `rz2f_…`.
    pub fn owner(section: &str) -> Option<Slot> {
        let rest = section.strip_prefix("rz")?;
        let digits = rest.find(|c: char| !matches!(c, '0'..='9' | 'a'..='f')).unwrap_or(rest.len());
        let (number, part) = rest.split_at(digits);
        if number.starts_with('0') || !(part.is_empty() || matches!(part, "w" | "x") || part.starts_with('_')) {
            return None;
        }
        Slot::try_from(u16::from_str_radix(number, 16).ok()?).ok()
    }

    /// The slot.
    pub const fn slot(self) -> Slot {
        self.0
    }

    /// The interface on the network's own side; also the firewall zone and the dnsmasq instance.
    pub fn interface(self) -> String {
        self.0.to_string()
    }

    /// The bridge, at most nine characters of the fifteen that Linux allows.
    pub fn bridge(self) -> String {
        format!("br-{}", self.0)
    }

    /// The WireGuard interface, which is also its device's name.
    pub fn wireguard(self) -> String {
        format!("{}w", self.0)
    }

    /// The VXLAN interface, which is also its device's name.
    pub fn vxlan(self) -> String {
        format!("{}x", self.0)
    }

    /// The type of the sections of the WireGuard interface's peers.
    pub fn wireguard_peer(self) -> String {
        format!("wireguard_{}", self.wireguard())
    }

    /// A section that there is one of: `rz2f_pool`.
    pub fn section(self, part: &str) -> String {
        format!("{}_{part}", self.0)
    }

    /// The section of an instance's lease.
    pub fn lease(self, instance: InstanceId) -> String {
        self.section(&format!("i{}", instance.suffix()))
    }

    /// The section of a peer.
    pub fn peer(self, peer: PeerId) -> String {
        self.section(&format!("p{}", peer.suffix()))
    }

    /// The table with the routes to the network's peers. The same address may be a peer's in several networks, and so
    /// each network has routes of its own.
    pub fn route_table(self) -> u32 {
        10_000 + u32::from(self.0.get())
    }

    /// The file where the network's dnsmasq keeps its leases.
    pub fn lease_file(self) -> String {
        format!("/tmp/dhcp.leases.{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn every_slot() -> impl Iterator<Item = Names> {
        (1..=Slot::MAX).map(|number| Names::of(Slot::try_from(number).unwrap()))
    }

    fn sections(names: Names) -> Vec<String> {
        vec![
            names.interface(),
            names.wireguard(),
            names.section("pool"),
            names.lease(InstanceId::from_bits(u64::MAX)),
            names.peer(PeerId::from_bits(u64::MAX)),
        ]
    }

    #[test]
    fn every_name_of_every_slot_is_short_enough_and_tells_its_slot() {
        for names in every_slot() {
            assert!(names.bridge().len() <= 15 && names.wireguard().len() <= 15, "{}", names.bridge());
            assert!(names.interface().len() <= 11, "fw3 takes no longer zone than 11: {}", names.interface());
            for section in sections(names) {
                assert!(uci::SectionName::new(section.clone()).is_ok(), "{section}");
                assert_eq!(Names::owner(&section), Some(names.slot()), "{section}");
            }
        }
    }

    #[test]
    fn no_two_slots_share_a_name() {
        let mut seen = BTreeSet::new();
        for names in every_slot() {
            for name in sections(names).into_iter().chain([names.bridge()]) {
                assert!(seen.insert(name.clone()), "{name} belongs to two slots");
            }
        }
    }

    #[test]
    fn what_others_made_is_not_ours() {
        for other in ["", "rz", "rzw", "rz_x", "rz0", "rz02f", "rz4000", "rz2fy", "rz2fww", "RZ2F", "rz2F", "lan"] {
            assert_eq!(Names::owner(other), None, "{other}");
        }
        assert_eq!(Names::owner("rzb"), Slot::try_from(0xb).ok(), "b is a hex digit");
    }
}
