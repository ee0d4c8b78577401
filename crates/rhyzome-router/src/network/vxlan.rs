//! VXLAN interfaces, as OpenWrt's package `vxlan` makes them: proto `vxlan` and sections `vxlan_peer`. No input or output.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::plan::Trouble;
use crate::tree::{Section, Tree};

/// The port of VXLAN (RFC 7348).
const PORT: u16 = 4789;
/// The highest network identifier: it has 24 bits.
const LAST_VNI: u32 = (1 << 24) - 1;
/// Stands for whoever is not known, in the table of who is where.
const EVERYBODY: &str = "00:00:00:00:00:00";

/// A VXLAN interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Vxlan {
    /// Its device.
    pub device: VxlanDevice,
    /// The MAC address of its device, if it says one.
    pub mac: Option<String>,
    /// Where what is for everybody goes.
    pub flooded: BTreeSet<IpAddr>,
}

/// What cannot change while the device is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanDevice {
    /// The network identifier.
    pub vni: u32,
    /// The UDP port of all ends.
    pub port: u16,
    /// The address that it sends from.
    pub local: Option<IpAddr>,
    /// The device that it sends by.
    pub link: Option<String>,
    /// Whether it learns who is where from what arrives.
    pub learns: bool,
}

impl Vxlan {
    /// Reads an interface of proto `vxlan`.
    pub fn of(section: &Section, network: &Tree) -> Result<Self, Trouble> {
        let invalid =
            |code: &'static str, text: &str| Trouble { subsystem: "proto", code, data: vec![text.to_owned()] };
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| invalid("INVALID_ADDRESS", text));
        let vid = section.text("vid").unwrap_or_default();
        let vni =
            vid.parse().ok().filter(|vni| (1..=LAST_VNI).contains(vni)).ok_or_else(|| invalid("INVALID_VID", vid))?;
        let port = match section.text("port") {
            Some(port) => port.parse().map_err(|_| invalid("INVALID_PORT", port))?,
            None => PORT,
        };
        // The interface that it goes by; what it is called there is what its device is called.
        let interface =
            section.text("tunlink").and_then(|name| network.of_kind("interface").find(|one| one.name == name));
        let link = interface.and_then(|interface| interface.text("device")).map(str::to_owned);
        let mut flooded = BTreeSet::new();
        if let Some(remote) = section.text("peeraddr") {
            flooded.insert(address(remote)?);
        }
        let peers = network.of_kind("vxlan_peer").filter(|peer| peer.text("vxlan") == Some(&section.name));
        for peer in peers.filter_map(|peer| peer.text("dst")) {
            flooded.insert(address(peer)?);
        }
        Ok(Self {
            device: VxlanDevice {
                vni,
                port,
                local: section.text("ipaddr").map(address).transpose()?,
                link,
                learns: section.flag("learning", true),
            },
            mac: section.text("macaddr").map(str::to_owned),
            flooded,
        })
    }
}

impl VxlanDevice {
    /// The line for `ip -batch` that makes it.
    #[must_use]
    pub fn add(&self, name: &str, mac: &str) -> String {
        let Self { vni, port, local, link, learns } = self;
        let local = local.map(|local| format!(" local {local}")).unwrap_or_default();
        let link = link.as_ref().map(|link| format!(" dev {link}")).unwrap_or_default();
        let learns = if *learns { "" } else { " nolearning" };
        format!("link add {name} address {mac} type vxlan id {vni} dstport {port}{local}{link}{learns}")
    }
}

/// The lines for `bridge -batch` that make what is for everybody go where it is wanted and nowhere else.
#[must_use]
pub fn flood(name: &str, wanted: &BTreeSet<IpAddr>, actual: &BTreeSet<IpAddr>) -> Vec<String> {
    let line = |verb: &str, address: &IpAddr| format!("fdb {verb} {EVERYBODY} dev {name} dst {address}");
    let stale = actual.difference(wanted).map(|address| line("delete", address));
    stale.chain(wanted.difference(actual).map(|address| line("append", address))).collect()
}

/// Where `bridge -j fdb show` says that what is for everybody goes.
#[must_use]
pub fn flooded(shown: &serde_json::Value) -> BTreeSet<IpAddr> {
    let entries = shown.as_array().into_iter().flatten();
    let for_everybody = entries.filter(|entry| entry["mac"] == EVERYBODY);
    for_everybody.filter_map(|entry| entry["dst"].as_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::plan::{Plan, Proto};

    fn vxlan(options: &str) -> Result<Vxlan, Trouble> {
        let text = format!(
            "config interface under\noption device eth1\nconfig interface x\noption proto vxlan\n{options}\n\
             config vxlan_peer\noption vxlan x\noption dst 192.0.2.3\n\
             config vxlan_peer\noption vxlan y\noption dst 192.0.2.4\n"
        );
        let package = uci::Package::parse(uci::PackageName::new("network").unwrap(), &text).unwrap();
        let interface = Plan::of(&Tree::of(&package)).interfaces.remove("x").unwrap();
        match (interface.proto, interface.addressing) {
            (Proto::Vxlan(vxlan), Ok(_)) => Ok(*vxlan),
            (_, addressing) => Err(addressing.unwrap_err()),
        }
    }

    #[test]
    fn all_that_is_asked_for_is_in_its_device_and_its_peers() {
        let whole = vxlan(
            "option vid 31\noption port 4790\noption ipaddr 192.0.2.1\noption tunlink under\noption learning 0\n\
             option peeraddr 192.0.2.2",
        )
        .unwrap();
        assert_eq!(
            whole.device.add("x", "02:00:00:00:00:01"),
            "link add x address 02:00:00:00:00:01 type vxlan id 31 dstport 4790 local 192.0.2.1 dev eth1 nolearning"
        );
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<BTreeSet<IpAddr>>();
        assert_eq!(whole.flooded, addresses(&["192.0.2.2", "192.0.2.3"]));
        let lines = flood("x", &whole.flooded, &addresses(&["192.0.2.3", "192.0.2.9"]));
        assert_eq!(
            lines,
            ["fdb delete 00:00:00:00:00:00 dev x dst 192.0.2.9", "fdb append 00:00:00:00:00:00 dev x dst 192.0.2.2"]
        );
        assert_eq!(vxlan("option vid 31").unwrap().device.port, 4789);
    }

    #[test]
    fn what_is_no_vxlan_is_a_trouble() {
        for (options, code) in [
            ("", "INVALID_VID"),
            ("option vid 0", "INVALID_VID"),
            ("option vid 16777216", "INVALID_VID"),
            ("option vid 1\noption port x", "INVALID_PORT"),
            ("option vid 1\noption ipaddr here", "INVALID_ADDRESS"),
            ("option vid 1\noption peeraddr there", "INVALID_ADDRESS"),
        ] {
            assert_eq!(vxlan(options).unwrap_err().code, code, "{options}");
        }
    }
}
