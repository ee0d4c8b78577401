//! How a segment reaches other hosts: a VLAN on a trunk, or a VXLAN (RFC 7348) over the network between the hosts. Either
//! is one more port of the segment's bridge.

use std::collections::BTreeSet;

use anyhow::Context;
use jobs::desired::{SegmentKind, SegmentLink, Vxlan};
use serde::Deserialize;
use types::HostAddr;

use super::link::{Links, ip};
use crate::failure::Failure;
use crate::program::run;

/// The hardware address under which Linux keeps where frames for everybody go.
const EVERYBODY: &str = "00:00:00:00:00:00";

/// The ways to other hosts that this host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The interface that carries VLANs.
    pub trunk: Option<String>,
    /// This host's address in the network that carries VXLANs.
    pub underlay: Option<HostAddr>,
}

impl Ways {
    /// What desired states may require of this host.
    pub fn features(&self) -> &'static [&'static str] {
        match (self.trunk.is_some(), self.underlay.is_some()) {
            (false, false) => &[],
            (true, false) => &[SegmentKind::VLAN],
            (false, true) => &[SegmentKind::VXLAN],
            (true, true) => &[SegmentKind::VLAN, SegmentKind::VXLAN],
        }
    }
}

/// What `bridge fdb` says of one entry.
#[derive(Deserialize)]
struct Entry {
    mac: String,
    dst: Option<HostAddr>,
}

/// Makes the port to other hosts and names it; none for a segment that is on this host alone.
pub async fn ensure(link: &SegmentLink, ways: &Ways, links: &Links) -> Result<Option<String>, Failure> {
    let refuse = |what: &str| Failure::Refused(format!("this host's agent has no {what}: add it to its configuration"));
    let port = link.segment.overlay();
    let arguments = match &link.kind {
        SegmentKind::Bridge => {
            if links.get(&port).is_some() {
                ip(["link", "delete", &port]).await?;
            }
            return Ok(None);
        }
        SegmentKind::Vlan { id } => {
            let trunk = ways.trunk.as_deref().ok_or_else(|| refuse("`trunk`"))?;
            if links.get(trunk).is_none() {
                return Err(anyhow::anyhow!("the trunk {trunk} is not there").into());
            }
            vlan(&port, trunk, *id)
        }
        SegmentKind::Vxlan(Vxlan { vni, .. }) => {
            let underlay = ways.underlay.ok_or_else(|| refuse("`underlay`"))?;
            vxlan(&port, *vni, underlay)
        }
    };
    let as_wanted = links.get(&port).is_some_and(|found| found.carries(&link.kind, ways.underlay));
    if links.get(&port).is_some() && !as_wanted {
        ip(["link", "delete", &port]).await?;
    }
    if !as_wanted {
        run("ip", &arguments).await?;
    }
    let (mtu, bridge) = (link.mtu.get().to_string(), link.segment.bridge());
    super::silence(&port)?;
    ip(["link", "set", &port, "mtu", &mtu, "master", &bridge, "up"]).await?;
    if let SegmentKind::Vxlan(Vxlan { remotes, .. }) = &link.kind {
        set_remotes(&port, remotes.iter().copied().filter(|remote| Some(*remote) != ways.underlay).collect()).await?;
    }
    Ok(Some(port))
}

fn vlan(port: &str, trunk: &str, id: u16) -> Vec<String> {
    ["link", "add", "link", trunk, "name", port, "type", "vlan", "id", &id.to_string()].map(str::to_owned).to_vec()
}

fn vxlan(port: &str, vni: u32, underlay: HostAddr) -> Vec<String> {
    let (vni, local, udp) = (vni.to_string(), underlay.to_string(), Vxlan::PORT.to_string());
    ["link", "add", port, "type", "vxlan", "id", &vni, "local", &local, "dstport", &udp].map(str::to_owned).to_vec()
}

/// Sends frames for everybody to these hosts and to no others; where a single machine is, the kernel learns.
async fn set_remotes(port: &str, wanted: BTreeSet<HostAddr>) -> anyhow::Result<()> {
    let listed = run("bridge", ["-json", "fdb", "show", "dev", port]).await?;
    // Nothing at all is said of a port without entries.
    let entries: Vec<Entry> = match listed.trim() {
        "" => Vec::new(),
        listed => serde_json::from_str(listed).context("bridge did not list entries as JSON")?,
    };
    let there: BTreeSet<HostAddr> =
        entries.iter().filter(|entry| entry.mac == EVERYBODY).filter_map(|entry| entry.dst).collect();
    for gone in there.difference(&wanted) {
        run("bridge", ["fdb", "del", EVERYBODY, "dev", port, "dst", &gone.to_string()]).await?;
        // What was learnt behind it is forgotten with it.
        for entry in entries.iter().filter(|entry| entry.dst == Some(*gone) && entry.mac != EVERYBODY) {
            let _ = run("bridge", ["fdb", "del", &entry.mac, "dev", port, "dst", &gone.to_string()]).await;
        }
    }
    for new in wanted.difference(&there) {
        run("bridge", ["fdb", "append", EVERYBODY, "dev", port, "dst", &new.to_string()]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_made_of_numbers_and_of_what_the_host_has() {
        assert_eq!(vlan("rzx1f", "eth1", 1030).join(" "), "link add link eth1 name rzx1f type vlan id 1030");
        assert_eq!(
            vxlan("rzx1f", 31, "192.0.2.11".parse().unwrap()).join(" "),
            "link add rzx1f type vxlan id 31 local 192.0.2.11 dstport 4789"
        );
    }

    #[test]
    fn a_host_offers_the_ways_that_it_has() {
        let ways = |trunk: bool, underlay: bool| Ways {
            trunk: trunk.then(|| "eth1".to_owned()),
            underlay: underlay.then(|| "192.0.2.1".parse().unwrap()),
        };
        assert_eq!(ways(false, false).features(), [] as [&str; 0]);
        assert_eq!(ways(true, true).features(), ["segment-vlan", "segment-vxlan"]);
    }
}
