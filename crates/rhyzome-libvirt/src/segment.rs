//! Segments: a network's layer 2 on this host, a bridge that instances are ports of, and the ways to the router and to
//! other hosts: a veth pair into an embedded router's namespace, a VLAN or a VXLAN ([`overlay`]).
//!
//! The host itself takes no part in a segment: its bridge has no address, IPv6 is off, and whatever guests send to the
//! host is dropped where it would come in ([`barrier`]).

mod barrier;
mod link;
mod overlay;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use jobs::desired::{SegmentKind, SegmentLink};
use jobs::{Held, Object};
use tokio::sync::Mutex;
use types::{NetworkId, Segment, Version};

use self::link::{Links, ip, ip_in};
pub use self::overlay::Ways;
use crate::failure::Failure;
use crate::mark::Mark;

/// Where `ip netns` keeps the namespaces' names.
const NAMESPACES: &str = "/run/netns";

/// All segments of this host.
pub struct Segments {
    router_netns: Option<String>,
    ways: Ways,
    /// The segments that are joined to the router, and the lock of everything that changes links.
    joined: Mutex<BTreeMap<NetworkId, Joined>>,
}

/// How a segment was joined to the router.
struct Joined {
    link: SegmentLink,
    /// Device and inode of the namespace that its end was moved into.
    namespace: Option<(u64, u64)>,
}

impl Segments {
    /// The segments of a host with these ways to others, whose embedded router lives in that namespace, if it has one.
    pub fn new(router_netns: Option<String>, ways: Ways) -> Self {
        Self { router_netns, ways, joined: Mutex::default() }
    }

    /// Brings a segment about.
    pub async fn ensure(&self, link: &SegmentLink, version: Version) -> Result<(), Failure> {
        let mut joined = self.joined.lock().await;
        let bridge = link.segment.bridge();
        let mine = Mark { object: Object::Segment(link.network), version: Mark::UNFINISHED };
        let links = Links::read().await?;
        match links.get(&bridge) {
            None => ip(["link", "add", &bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"]).await?,
            Some(found) if found.kind() != Some("bridge") => {
                return Err(anyhow!("the interface {bridge} is there and is no bridge").into());
            }
            Some(found) => {
                if let Some(mark) = found.mark().filter(|mark| mark.object != mine.object) {
                    return Err(Failure::Refused(format!("the bridge {bridge} belongs to {}", mark.object)));
                }
            }
        }
        if links.get(&bridge).is_none_or(|found| found.mark().is_none()) {
            ip(["link", "set", &bridge, "alias", &mine.to_string()]).await?;
        }
        silence(&bridge)?;
        barrier::raise(&bridge).await?;
        ip(["link", "set", &bridge, "mtu", &link.mtu.get().to_string(), "up"]).await?;
        overlay::ensure(link, &self.ways, &links).await?;
        let namespace = self.join(link, &links).await?;
        joined.insert(link.network, Joined { link: link.clone(), namespace });
        ip(["link", "set", &bridge, "alias", &Mark { version, ..mine }.to_string()]).await?;
        Ok(())
    }

    /// Leaves nothing of a network's segment.
    pub async fn remove(&self, network: NetworkId) -> Result<(), Failure> {
        let mut joined = self.joined.lock().await;
        joined.remove(&network);
        let links = Links::read().await?;
        let Some(segment) = links.segments().find(|(mark, _)| mark.object == Object::Segment(network)) else {
            return Ok(());
        };
        let (bridge, ours) = (segment.1.bridge(), [segment.1.host_end(), segment.1.overlay()]);
        let ports: Vec<&str> = links.ports_of(&bridge).filter(|port| ours.iter().all(|our| our != port)).collect();
        if !ports.is_empty() {
            return Err(anyhow!("{bridge} still has the ports {}", ports.join(", ")).into());
        }
        remove_links(&links, segment.1).await?;
        if links.segments().count() == 1 {
            barrier::remove().await?;
        }
        Ok(())
    }

    /// The segments on this host that are ours.
    pub async fn held(&self) -> anyhow::Result<Vec<Held>> {
        Ok(Links::read().await?.segments().map(|(mark, _)| mark.into()).collect())
    }

    /// Learns of segments that an earlier run of the agent made.
    pub async fn recall(&self) -> anyhow::Result<()> {
        let mut joined = self.joined.lock().await;
        let links = Links::read().await?;
        for (mark, segment) in links.segments() {
            let (Object::Segment(network), Some(bridge)) = (mark.object, links.get(&segment.bridge())) else {
                continue;
            };
            let link = SegmentLink { network, segment, mtu: bridge.mtu()?, kind: SegmentKind::Bridge };
            joined.entry(network).or_insert(Joined { link, namespace: None });
        }
        Ok(())
    }

    /// Joins the segments again whose router came back in a namespace of its own. Cheap when nothing happened.
    pub async fn rejoin(&self) -> anyhow::Result<()> {
        let Some(name) = &self.router_netns else { return Ok(()) };
        let Some(namespace) = identity(name) else { return Ok(()) };
        let mut joined = self.joined.lock().await;
        let interfaces = fs::read_to_string("/proc/thread-self/net/dev").context("cannot list interfaces")?;
        for segment in joined.values_mut() {
            let host_end = format!("{}:", segment.link.segment.host_end());
            let there = interfaces.lines().any(|line| line.trim_start().starts_with(&host_end));
            if there && segment.namespace == Some(namespace) {
                continue;
            }
            let links = Links::read().await?;
            if links.get(&segment.link.segment.bridge()).is_some() {
                segment.namespace = self.join(&segment.link, &links).await?;
                tracing::info!(network = %segment.link.network, "joined the segment to the router");
            }
        }
        Ok(())
    }

    /// Puts the barrier back where it was taken away. Says whether it was.
    pub async fn restore_barrier(&self) -> anyhow::Result<bool> {
        let joined = self.joined.lock().await;
        let links = Links::read().await?;
        let bridges = joined.values().map(|joined| joined.link.segment.bridge());
        barrier::restore(bridges.filter(|bridge| links.get(bridge).is_some())).await
    }

    /// Makes the pair of ends that joins the bridge to the router, unless it is there.
    async fn join(&self, link: &SegmentLink, links: &Links) -> anyhow::Result<Option<(u64, u64)>> {
        let Some(namespace) = &self.router_netns else { return Ok(None) };
        let found = identity(namespace).with_context(|| {
            format!("the router's network namespace {namespace} is not there: is the router running?")
        })?;
        let (bridge, host_end, router_end) =
            (link.segment.bridge(), link.segment.host_end(), link.segment.router_end());
        let mtu = link.mtu.get().to_string();
        let whole = links.get(&host_end).is_some() && Links::read_in(namespace).await?.get(&router_end).is_some();
        if !whole {
            if links.get(&host_end).is_some() {
                // Its other end went with a namespace that was there before.
                ip(["link", "delete", &host_end]).await?;
            }
            ip([
                "link",
                "add",
                &host_end,
                "mtu",
                &mtu,
                "type",
                "veth",
                "peer",
                "name",
                &router_end,
                "mtu",
                &mtu,
                "netns",
                namespace,
            ])
            .await?;
        }
        silence(&host_end)?;
        ip(["link", "set", &host_end, "mtu", &mtu, "master", &bridge, "up"]).await?;
        ip_in(namespace, ["link", "set", &router_end, "mtu", &mtu, "up"]).await?;
        Ok(Some(found))
    }
}

/// Removes every segment of ours and the barrier, whatever still hangs on them.
pub async fn remove_all() -> anyhow::Result<()> {
    let links = Links::read().await?;
    for segment in links.traces() {
        remove_links(&links, segment).await?;
    }
    barrier::remove().await
}

async fn remove_links(links: &Links, segment: Segment) -> anyhow::Result<()> {
    let bridge = segment.bridge();
    // The router's end goes with the host's.
    for port in [segment.host_end(), segment.overlay()] {
        if links.get(&port).is_some() {
            ip(["link", "delete", &port]).await?;
        }
    }
    barrier::lower(&bridge).await?;
    if links.get(&bridge).is_some() {
        ip(["link", "delete", &bridge]).await?;
    }
    Ok(())
}

/// Turns IPv6 off, so that the host has no address there and says nothing.
pub fn silence(interface: &str) -> anyhow::Result<()> {
    let folder = Path::new("/proc/sys/net/ipv6/conf").join(interface);
    // Without the folder the kernel has no IPv6 at all.
    if folder.exists() {
        fs::write(folder.join("disable_ipv6"), "1").with_context(|| format!("cannot turn IPv6 off on {interface}"))?;
    }
    Ok(())
}

/// Whether the bridge of a segment is there.
pub fn require_bridge(segment: Segment) -> anyhow::Result<()> {
    let bridge = segment.bridge();
    let interfaces = fs::read_to_string("/proc/thread-self/net/dev").context("cannot list interfaces")?;
    let there = interfaces.lines().any(|line| line.trim_start().starts_with(&format!("{bridge}:")));
    ensure!(there, "the bridge {bridge} of its network is not there yet");
    Ok(())
}

fn identity(namespace: &str) -> Option<(u64, u64)> {
    let metadata = fs::metadata(Path::new(NAMESPACES).join(namespace)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
