//! Two hosts, a network between them, and a segment across both by VXLAN. Each host is a network namespace.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use jobs::desired::{SegmentKind, SegmentLink, Vxlan};
use jobs::{Context, Object, Outcome, Target, Want};
use nix::sched::{CloneFlags, setns, unshare};
use rhyzome_libvirt::hypervisor::Hypervisor;
use serde_json::json;
use std::sync::Arc;
use types::Segment;

use crate::ground::{NETWORK, apply, bring, remove};
use crate::wire::{EVERYBODY, Mac, Wire, ethernet};

const KIND: u16 = 0x88b5;
const FIRST: Mac = [0x52, 0x54, 0, 0, 0, 1];
const SECOND: Mac = [0x52, 0x54, 0, 0, 0, 2];
const UNDERLAY: [&str; 2] = ["192.0.2.11", "192.0.2.12"];

struct Host {
    namespace: File,
    target: Hypervisor,
}

impl Host {
    /// A host in a namespace of its own, in which this thread is then.
    fn new(dir: &Path, number: usize) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let configuration = json!({
            "agent": {"state_dir": dir.join(format!("agent-{number}"))},
            "storage_dir": dir.join(format!("storage-{number}")),
            "underlay": UNDERLAY[number],
        });
        let configuration = config::parse(&configuration.to_string(), Path::new("test")).unwrap();
        Self {
            namespace: File::open("/proc/thread-self/ns/net").unwrap(),
            target: Hypervisor::open(&configuration).unwrap(),
        }
    }

    /// Whatever this thread does next, programs that it starts too, is on this host.
    fn enter(&self) -> &dyn Target {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
        &self.target
    }
}

struct NoImages;

#[async_trait::async_trait]
impl jobs::ImageSource for NoImages {
    async fn fetch(
        &self,
        _: types::Sha256Digest,
        _: &mut (dyn tokio::io::AsyncWrite + Send + Unpin),
    ) -> anyhow::Result<()> {
        anyhow::bail!("there are no images here")
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn segment(remotes: &[&str]) -> SegmentLink {
    SegmentLink {
        network: NETWORK,
        segment: number(),
        mtu: 1450.try_into().unwrap(),
        kind: SegmentKind::Vxlan(Vxlan {
            vni: number().get(),
            remotes: remotes.iter().map(|remote| remote.parse().unwrap()).collect(),
        }),
    }
}

fn number() -> Segment {
    Segment::try_from(0x1f).unwrap()
}

/// A cable into the segment's bridge, as a machine's tap would be.
fn plug_in() -> Wire {
    run("ip", &["link", "add", "near", "type", "veth", "peer", "name", "far"]);
    for end in ["near", "far"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
    }
    run("ip", &["link", "set", "near", "master", &number().bridge(), "up"]);
    run("ip", &["link", "set", "far", "up"]);
    Wire::on("far")
}

#[tokio::main(flavor = "current_thread")]
async fn span() {
    assert!(nix::unistd::Uid::effective().is_root(), "this test makes network namespaces: run it as root");
    let dir = tempfile::tempdir().unwrap();
    let hosts = [Host::new(dir.path(), 0), Host::new(dir.path(), 1)];
    // The network between the hosts.
    let other = format!("/proc/{}/fd/{}", std::process::id(), hosts[0].namespace.as_raw_fd());
    run("ip", &["link", "add", "under", "type", "veth", "peer", "name", "under", "netns", &other]);
    for (host, address) in hosts.iter().zip(UNDERLAY) {
        host.enter();
        run("ip", &["address", "add", &format!("{address}/24"), "dev", "under"]);
        run("ip", &["link", "set", "under", "up"]);
    }
    let context = Context { images: Arc::new(NoImages) };
    let object = Object::Segment(NETWORK);
    let mut wires = Vec::new();
    for host in &hosts {
        // A host's own address among the others does no harm.
        let state = serde_json::to_string(&segment(&UNDERLAY)).unwrap();
        bring(host.enter(), &context, object, "1:1", state).await;
        wires.push(plug_in());
        let shown = run("ip", &["-oneline", "link", "show", &number().overlay()]);
        assert!(shown.contains("mtu 1450"), "{shown}");
    }

    // What is for everybody crosses over, and so does the answer, of full size.
    let text = [7; 1450];
    let question = ethernet(EVERYBODY, FIRST, KIND, &text);
    wires[0].send(&question);
    wires[1].received_before(&question);
    let answer = ethernet(FIRST, SECOND, KIND, &text);
    wires[1].send(&answer);
    wires[0].received_before(&answer);

    // The same again changes nothing; another VNI or set of hosts is brought about.
    let device = || run("ip", &["-oneline", "link", "show", &number().overlay()]);
    let flooded = || run("bridge", &["fdb", "show", "dev", &number().overlay()]);
    let target = hosts[0].enter();
    let before = device();
    bring(target, &context, object, "1:2", serde_json::to_string(&segment(&UNDERLAY)).unwrap()).await;
    assert_eq!(device(), before);
    assert!(flooded().contains("dst 192.0.2.12"));
    bring(target, &context, object, "1:3", serde_json::to_string(&segment(&["192.0.2.99"])).unwrap()).await;
    assert_eq!(device(), before);
    assert!(!flooded().contains("192.0.2.12") && flooded().contains("192.0.2.99"), "{}", flooded());
    let alone = SegmentLink { kind: SegmentKind::Bridge, ..segment(&[]) };
    bring(target, &context, object, "1:4", serde_json::to_string(&alone).unwrap()).await;
    assert!(!run("ip", &["-brief", "link"]).contains(&number().overlay()));

    // Who has no trunk says so.
    let vlan = SegmentLink { kind: SegmentKind::Vlan { id: 1030 }, ..segment(&[]) };
    let report = apply(target, &context, object, "1:5", Want::Desired(serde_json::to_string(&vlan).unwrap())).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert!(report.reason.unwrap().contains("`trunk`"));

    for host in &hosts {
        let target = host.enter();
        run("ip", &["link", "delete", "far"]);
        remove(target, &context, object).await;
        let left = run("ip", &["-brief", "link"]);
        assert!(!left.contains("rz"), "{left}");
    }
}

#[test]
fn a_segment_spans_two_hosts() {
    // Threads that a runtime starts would stay in the namespace they were started in: there are none.
    span();
}
