//! The host's interfaces as `ip` (iproute2) reports and changes them.

use std::collections::BTreeMap;

use anyhow::Context;
use jobs::desired::{SegmentKind, Vxlan};
use serde::Deserialize;
use types::{HostAddr, Mtu, Segment};

use crate::mark::Mark;
use crate::program::run;

/// All interfaces of one network namespace, by name.
pub struct Links(BTreeMap<String, Link>);

/// One interface.
#[derive(Deserialize)]
pub struct Link {
    ifname: String,
    ifalias: Option<String>,
    master: Option<String>,
    mtu: i64,
    linkinfo: Option<LinkInfo>,
}

#[derive(Deserialize)]
struct LinkInfo {
    info_kind: Option<String>,
    info_data: Option<LinkData>,
}

/// What a VLAN or a VXLAN carries.
#[derive(Deserialize)]
struct LinkData {
    id: Option<u32>,
    local: Option<String>,
}

impl Links {
    /// The interfaces of the namespace that the agent lives in.
    pub async fn read() -> anyhow::Result<Self> {
        Self::parse(&run("ip", ["-json", "-details", "link", "show"]).await?)
    }

    /// The interfaces of a named namespace.
    pub async fn read_in(namespace: &str) -> anyhow::Result<Self> {
        Self::parse(&run("ip", ["-netns", namespace, "-json", "-details", "link", "show"]).await?)
    }

    fn parse(json: &str) -> anyhow::Result<Self> {
        let links: Vec<Link> = serde_json::from_str(json).context("ip did not list interfaces as JSON")?;
        Ok(Self(links.into_iter().map(|link| (link.ifname.clone(), link)).collect()))
    }

    /// The interface of that name.
    pub fn get(&self, name: &str) -> Option<&Link> {
        self.0.get(name)
    }

    /// The ports of a bridge.
    pub fn ports_of(&self, bridge: &str) -> impl Iterator<Item = &str> {
        self.0.values().filter(move |link| link.master.as_deref() == Some(bridge)).map(|link| link.ifname.as_str())
    }

    /// The bridges that bear our mark.
    pub fn segments(&self) -> impl Iterator<Item = (Mark, Segment)> {
        self.0.values().filter_map(|link| Some((link.mark()?, link.segment("rzb")?)))
    }

    /// The segments that anything is there of, marked or not, unless the mark is not ours.
    pub fn traces(&self) -> Vec<Segment> {
        let unmarked = |link: &&Link| link.ifalias.is_none() || link.mark().is_some();
        let mut found: Vec<Segment> = self
            .0
            .values()
            .filter(unmarked)
            .filter_map(|link| match link.kind() {
                Some("bridge") => link.segment("rzb"),
                Some("veth") => link.segment("rzh"),
                Some("vlan" | "vxlan") => link.segment("rzx"),
                _ => None,
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

impl Link {
    /// What it is, as in "bridge".
    pub fn kind(&self) -> Option<&str> {
        self.linkinfo.as_ref()?.info_kind.as_deref()
    }

    /// Whether it is the way to other hosts that a segment of that kind needs.
    pub fn carries(&self, kind: &SegmentKind, underlay: Option<HostAddr>) -> bool {
        let data = self.linkinfo.as_ref().and_then(|info| info.info_data.as_ref());
        let (id, local) = (data.and_then(|data| data.id), data.and_then(|data| data.local.as_deref()));
        match (self.kind(), kind) {
            (Some("vlan"), SegmentKind::Vlan { id: wanted }) => id == Some(u32::from(*wanted)),
            (Some("vxlan"), SegmentKind::Vxlan(Vxlan { vni, .. })) => {
                id == Some(*vni) && local.and_then(|local| local.parse().ok()) == underlay
            }
            _ => false,
        }
    }

    /// The mark in its alias.
    pub fn mark(&self) -> Option<Mark> {
        self.ifalias.as_ref()?.parse().ok()
    }

    /// Its largest packet.
    pub fn mtu(&self) -> anyhow::Result<Mtu> {
        self.mtu.try_into().with_context(|| format!("the MTU of {}", self.ifname))
    }

    fn segment(&self, stem: &str) -> Option<Segment> {
        let number = u32::from_str_radix(self.ifname.strip_prefix(stem)?, 16).ok()?;
        Segment::try_from(number).ok()
    }
}

/// Changes links of the agent's own namespace.
pub async fn ip<const N: usize>(arguments: [&str; N]) -> anyhow::Result<()> {
    run("ip", arguments).await.map(drop)
}

/// Changes links of a named namespace.
pub async fn ip_in<const N: usize>(namespace: &str, arguments: [&str; N]) -> anyhow::Result<()> {
    run("ip", ["-netns", namespace].into_iter().chain(arguments)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"[
        {"ifname": "lo", "mtu": 65536},
        {"ifname": "rzb1f", "mtu": 1400, "ifalias": "rhyzome segment/net-0000000000007 1:2", "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "rzh1f", "mtu": 1400, "master": "rzb1f", "linkinfo": {"info_kind": "veth"}},
        {"ifname": "rzb2", "mtu": 1500, "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "rzb3", "mtu": 1500, "ifalias": "the hall's", "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "rzbx", "mtu": 1500, "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "rzb4", "mtu": 1500, "linkinfo": {"info_kind": "dummy"}}
    ]"#;

    #[test]
    fn segments_are_what_bears_our_mark() {
        let links = Links::parse(LISTED).unwrap();
        let segments: Vec<String> = links.segments().map(|(mark, segment)| format!("{segment} {mark}")).collect();
        assert_eq!(segments, ["31 rhyzome segment/net-0000000000007 1:2"]);
        assert_eq!(links.ports_of("rzb1f").collect::<Vec<_>>(), ["rzh1f"]);
    }

    #[test]
    fn traces_leave_out_what_is_somebody_elses() {
        let traces: Vec<u32> = Links::parse(LISTED).unwrap().traces().into_iter().map(Segment::get).collect();
        assert_eq!(traces, [2, 0x1f]);
    }
}
