//! From a desired state to a guest that answers, and back to nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use jobs::desired::Power;
use jobs::observed::{Accelerator, Guest, Instance, PowerState};
use jobs::{Held, Object, Observation, Observer, Outcome, Target, Want};
use tokio::sync::mpsc::Receiver;

use crate::ground::{ADDRESS, Ground, IMAGE, INSTANCE, NETWORK, apply, as_sent, bring, eventually, remove};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn live(mut ground: Ground) {
    let (target, context) = (Arc::new(ground.hypervisor()), ground.context());
    let (observer, mut observations) = Observer::channel(64);
    let segment = serde_json::to_string(&ground.segment()).unwrap();
    bring(&*target, &context, Object::Segment(NETWORK), "1:1", segment.clone()).await;
    bring(&*target, &context, Object::Segment(NETWORK), "1:2", segment).await;
    the_host_is_out_of_reach(&ground);
    let watched = target.clone();
    let watcher = tokio::spawn(async move { watched.watch(observer).await });
    ground.run(Command::new("nft").args(["delete", "table", "netdev", "rhyzome-libvirt"]));
    ground.serve_dhcp();
    let image = serde_json::to_string(&ground.kept_image()).unwrap();
    bring(&*target, &context, Object::Image(IMAGE), "1:1", image).await;

    // Created.
    let mut wanted = ground.instance(Power::Running);
    let began = Instant::now();
    let report = bring(&*target, &context, Object::Instance(INSTANCE), "1:1", as_sent(&wanted)).await;
    let running = began.elapsed();
    let status: Instance = serde_json::from_value(report.status.unwrap()).unwrap();
    assert_eq!((status.power, status.accelerator), (PowerState::Running, Some(Accelerator::Tcg)));
    let guest = guest(&mut observations).await;
    println!(
        "create to running: {} ms; to the guest's report: {} ms",
        running.as_millis(),
        began.elapsed().as_millis()
    );
    assert_eq!((guest.hostname.as_str(), guest.address), ("hello", Some(ADDRESS.parse().unwrap())));
    assert_eq!(ground.ssh("hostname -f; cat /root/made"), "hello.home.internal\nmade");
    assert_eq!(ground.ssh("cat /sys/class/net/eth0/mtu"), "1420");
    eventually("the barrier to be back", async || {
        let bridge = ground.segment().segment.bridge();
        let chain = ["list", "chain", "netdev", "rhyzome-libvirt", &bridge];
        let listed = Command::new("nft").args(chain).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).contains("policy drop").then_some(())
    })
    .await;
    the_guest_is_nobody_else(&ground);
    let held = target.held().await.unwrap();
    for (object, version) in
        [(Object::Segment(NETWORK), "1:2"), (Object::Image(IMAGE), "1:1"), (Object::Instance(INSTANCE), "1:1")]
    {
        assert!(held.contains(&Held { object, version: version.parse().unwrap() }), "{object} in {held:?}");
    }
    let in_use = apply(&*target, &context, Object::Segment(NETWORK), "1:9", Want::Gone).await;
    assert_eq!(in_use.outcome, Outcome::Retrying, "a segment with a machine on it stays");

    // The same again changes nothing.
    let boot = ground.ssh("cat /proc/sys/kernel/random/boot_id");
    let inode = disk_inode(&ground);
    bring(&*target, &context, Object::Instance(INSTANCE), "1:1", as_sent(&wanted)).await;
    assert_eq!(ground.ssh("cat /proc/sys/kernel/random/boot_id"), boot);

    // More memory counts from the next start on; a restart is one.
    wanted.memory = 160.try_into().unwrap();
    bring(&*target, &context, Object::Instance(INSTANCE), "1:2", as_sent(&wanted)).await;
    assert_eq!(ground.ssh("cat /proc/sys/kernel/random/boot_id"), boot);
    wanted.restarts = 1;
    drain(&mut observations);
    let report = bring(&*target, &context, Object::Instance(INSTANCE), "1:3", as_sent(&wanted)).await;
    assert_eq!(serde_json::from_value::<Instance>(report.status.unwrap()).unwrap().guest, None);
    self::guest(&mut observations).await;
    assert_ne!(ground.ssh("cat /proc/sys/kernel/random/boot_id"), boot);
    let memory: u32 = ground.ssh("awk '/MemTotal/ { print $2 }' /proc/meminfo").parse().unwrap();
    assert!(memory > 110 << 10, "{memory} KiB");

    // Stopped, and started with the same disk.
    wanted.power = Power::Stopped;
    let report = bring(&*target, &context, Object::Instance(INSTANCE), "1:4", as_sent(&wanted)).await;
    let stopped = Instance { power: PowerState::Stopped, accelerator: None, guest: None, lost: None };
    assert_eq!(serde_json::from_value::<Instance>(report.status.unwrap()).unwrap(), stopped);
    assert!(
        fs::read_to_string(ground.path("storage/instances").join(INSTANCE.to_string()).join("console.log"))
            .unwrap()
            .contains("Power down")
    );
    a_lost_disk_is_never_made_anew(&ground, &*target, &as_sent(&wanted)).await;
    wanted.power = Power::Running;
    bring(&*target, &context, Object::Instance(INSTANCE), "1:5", as_sent(&wanted)).await;
    assert_eq!(disk_inode(&ground), inode);

    // Gone.
    remove(&*target, &context, Object::Image(IMAGE)).await;
    assert!(
        ground.path("storage/images").join(format!("{}.qcow2", wanted.image.sha256)).exists(),
        "its clone needs it"
    );
    remove(&*target, &context, Object::Instance(INSTANCE)).await;
    remove(&*target, &context, Object::Segment(NETWORK)).await;
    remove(&*target, &context, Object::Segment(NETWORK)).await;
    assert_eq!(target.held().await.unwrap(), []);
    assert_eq!(ground.traces(), [] as [String; 0]);
    assert_eq!(ground.virsh(&["list", "--all", "--name"]).trim(), "");
    for folder in ["storage/images", "storage/instances"] {
        assert_eq!(fs::read_dir(ground.path(folder)).unwrap().count(), 0, "{folder}");
    }
    watcher.abort();
}

#[test]
fn an_instance_lives_from_create_to_gone() {
    live(Ground::prepare());
}

/// Also where its root takes its neighbour's address.
fn the_guest_is_nobody_else(ground: &Ground) {
    ground.ssh("ip address add 10.77.0.11/24 dev eth0");
    let ping =
        |own: &str| ground.ssh(&format!("ping -c 1 -W 2 -I {own} 10.77.0.1 >/dev/null && echo heard || echo silence"));
    assert_eq!((ping(ADDRESS).as_str(), ping("10.77.0.11").as_str()), ("heard", "silence"));
    ground.ssh("ip address delete 10.77.0.11/24 dev eth0");
}

/// Even where somebody gives the bridge an address.
fn the_host_is_out_of_reach(ground: &Ground) {
    let (bridge, router_end) = (ground.segment().segment.bridge(), ground.segment().segment.router_end());
    ground.run(Command::new("ip").args(["address", "add", "192.0.2.1/24", "dev", &bridge]));
    ground.run(ground.in_router("ip").args(["address", "add", "192.0.2.2/24", "dev", &router_end]));
    let ping =
        |deadline: &str| ground.in_router("ping").args(["-c", "1", "-W", deadline, "192.0.2.1"]).output().unwrap();
    assert!(!ping("1").status.success(), "the host answers guests");
    // The same with the barrier away, so that it is the barrier that keeps them out.
    let chain = ["netdev", "rhyzome-libvirt", &bridge];
    ground.run(Command::new("nft").args(["delete", "chain"]).args(chain));
    assert!(ping("5").status.success(), "the host does not answer even without the barrier");
    let back = format!("{{ type filter hook ingress device \"{bridge}\" priority filter; policy drop; }}");
    ground.run(Command::new("nft").args(["add", "chain"]).args(chain).arg(back));
    ground.run(Command::new("ip").args(["address", "flush", "dev", &bridge]));
    ground.run(ground.in_router("ip").args(["address", "flush", "dev", &router_end]));
}

async fn a_lost_disk_is_never_made_anew(ground: &Ground, target: &dyn Target, state: &str) {
    let disk = ground.path("storage/instances").join(INSTANCE.to_string()).join("disk.qcow2");
    let aside = ground.path("disk.aside");
    fs::rename(&disk, &aside).unwrap();
    let want = Want::Desired(state.to_owned());
    let report = apply(target, &ground.context(), Object::Instance(INSTANCE), "1:4", want).await;
    assert_eq!(report.outcome, Outcome::Refused);
    assert!(report.reason.unwrap().contains("never made anew"));
    let status: Instance = serde_json::from_value(report.status.unwrap()).unwrap();
    assert_eq!(status.power, PowerState::Failed);
    assert!(status.lost.unwrap().contains("never made anew"));
    assert!(!disk.exists());
    fs::rename(&aside, &disk).unwrap();
}

fn disk_inode(ground: &Ground) -> u64 {
    fs::metadata(ground.path("storage/instances").join(INSTANCE.to_string()).join("disk.qcow2")).unwrap().ino()
}

/// Waits until a guest was observed.
async fn guest(observations: &mut Receiver<Observation>) -> Guest {
    eventually("the guest's report", async || {
        let (object, status) = observations.recv().await.unwrap().into_status().unwrap();
        assert_eq!(object, Object::Instance(INSTANCE));
        serde_json::from_value::<Instance>(status).unwrap().guest
    })
    .await
}

fn drain(observations: &mut Receiver<Observation>) {
    while observations.try_recv().is_ok() {}
}
