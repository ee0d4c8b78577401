//! libvirt, the router or everything is away for a while.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use jobs::desired::Power;
use jobs::observed::{Instance, PowerState};
use jobs::{Object, Observer, Outcome, Target, Want};
use nix::sys::signal::Signal;
use rhyzome_libvirt::hypervisor::Hypervisor;

use crate::ground::{Ground, IMAGE, INSTANCE, NETWORK, ROUTER, apply, as_sent, bring, eventually, remove};

async fn create(ground: &Ground, target: &dyn Target) -> String {
    let segment = serde_json::to_string(&ground.segment()).unwrap();
    bring(target, &ground.context(), Object::Segment(NETWORK), "1:1", segment).await;
    let instance = as_sent(&ground.instance(Power::Running));
    bring(target, &ground.context(), Object::Instance(INSTANCE), "1:1", instance.clone()).await;
    instance
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn lose_libvirtd(mut ground: Ground) {
    let (target, context) = (ground.hypervisor(), ground.context());
    let instance = create(&ground, &target).await;
    let machine = ground.machine_processes();
    ground.kill_libvirtd();
    let report = apply(&target, &context, Object::Instance(INSTANCE), "1:1", Want::Desired(instance.clone())).await;
    assert_eq!(report.outcome, Outcome::Retrying);
    assert!(report.reason.unwrap().contains("libvirt"));
    assert!(target.held().await.is_err());
    ground.start_libvirtd();
    bring(&target, &context, Object::Instance(INSTANCE), "1:1", instance).await;
    assert_eq!(ground.machine_processes(), machine, "the machine ran on");
    // A machine whose process dies has failed, and is told so.
    let pid = machine[0].clone();
    ground.run(Command::new("kill").args(["-9", &pid]));
    eventually("the failure", async || {
        let report = apply(&target, &context, Object::Image(crate::ground::IMAGE), "1:1", Want::Gone).await;
        assert_eq!(report.outcome, Outcome::Applied);
        let (observer, mut observations) = Observer::channel(8);
        tokio::select! {
            () = target.watch(observer) => None,
            observed = observations.recv() => {
                let status: Instance = serde_json::from_value(observed?.into_status()?.1).unwrap();
                (status.power == PowerState::Failed).then_some(())
            }
        }
    })
    .await;
    remove(&target, &context, Object::Instance(INSTANCE)).await;
    remove(&target, &context, Object::Segment(NETWORK)).await;
    assert_eq!(ground.traces(), [] as [String; 0]);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn hang_libvirtd(ground: Ground) {
    let mut configuration = ground.configuration();
    configuration.libvirt_deadline_seconds = 2;
    let (target, context) = (Hypervisor::open(&configuration).unwrap(), ground.context());
    let wanted = as_sent(&ground.instance(Power::Stopped));
    let segment = serde_json::to_string(&ground.segment()).unwrap();
    bring(&target, &context, Object::Segment(NETWORK), "1:1", segment).await;
    ground.signal_libvirtd(Signal::SIGSTOP);
    let report = apply(&target, &context, Object::Instance(INSTANCE), "1:1", Want::Desired(wanted.clone())).await;
    assert_eq!(report.outcome, Outcome::Retrying);
    let reason = report.reason.unwrap();
    assert!(reason.contains("libvirt did not") && reason.contains("within 2 s"), "{reason}");
    ground.signal_libvirtd(Signal::SIGCONT);
    eventually("libvirt to be of use again", async || {
        let want = Want::Desired(wanted.clone());
        let report = apply(&target, &context, Object::Instance(INSTANCE), "1:1", want).await;
        (report.outcome == Outcome::Applied).then_some(())
    })
    .await;
    remove(&target, &context, Object::Instance(INSTANCE)).await;
    remove(&target, &context, Object::Segment(NETWORK)).await;
    assert_eq!(ground.traces(), [] as [String; 0]);
}

#[test]
fn a_libvirtd_that_hangs_is_not_waited_for() {
    hang_libvirtd(Ground::prepare());
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn fill_disk(ground: Ground) {
    let storage = ground.path("storage");
    fs::create_dir_all(&storage).unwrap();
    let mount =
        |options: &str| ground.run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&storage));
    mount("size=64k");
    let (target, context) = (ground.hypervisor(), ground.context());
    let image = serde_json::to_string(&ground.kept_image()).unwrap();
    let report = apply(&target, &context, Object::Image(IMAGE), "1:1", Want::Desired(image.clone())).await;
    assert_eq!(report.outcome, Outcome::Retrying);
    let reason = report.reason.unwrap();
    assert!(reason.contains("No space left on device"), "{reason}");
    let parts = || {
        fs::read_dir(storage.join("images"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "part"))
            .count()
    };
    assert_eq!(parts(), 0, "what did not fit is not kept");
    mount("remount,size=512m");
    bring(&target, &context, Object::Image(IMAGE), "1:1", image).await;
    remove(&target, &context, Object::Image(IMAGE)).await;
    ground.run(Command::new("umount").arg(&storage));
}

#[test]
fn a_full_disk_is_said_and_tried_again() {
    fill_disk(Ground::prepare());
}

#[test]
fn machines_outlive_libvirtd_and_their_own_death_is_seen() {
    lose_libvirtd(Ground::prepare());
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn lose_router(ground: Ground) {
    let first = ground.hypervisor();
    let segment = serde_json::to_string(&ground.segment()).unwrap();
    bring(&first, &ground.context(), Object::Segment(NETWORK), "1:1", segment.clone()).await;
    drop(first);
    // The next run of the agent has made none of it.
    let target = Arc::new(ground.hypervisor());
    let (observer, _observations) = Observer::channel(8);
    let watched = target.clone();
    let watcher = tokio::spawn(async move { watched.watch(observer).await });
    ground.run(Command::new("ip").args(["netns", "delete", ROUTER]));
    let missing = apply(&*target, &ground.context(), Object::Segment(NETWORK), "1:2", Want::Desired(segment)).await;
    assert_eq!(missing.outcome, Outcome::Retrying);
    assert!(missing.reason.unwrap().contains("network namespace router is not there"));
    ground.add_router();
    let router_end = ground.segment().segment.router_end();
    eventually("the way to the router", async || {
        let shown = ground.in_router("ip").args(["-brief", "link", "show", &router_end]).output().unwrap();
        (shown.status.success() && String::from_utf8(shown.stdout).unwrap().contains(" UP ")).then_some(())
    })
    .await;
    watcher.abort();
    remove(&*target, &ground.context(), Object::Segment(NETWORK)).await;
    assert_eq!(ground.traces(), [] as [String; 0]);
}

#[test]
fn a_router_that_comes_back_is_joined_again() {
    lose_router(Ground::prepare());
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn lose_everything(mut ground: Ground) {
    create(&ground, &ground.hypervisor()).await;
    ground.run(Command::new("ip").args(["link", "add", "rzb7", "type", "bridge"]));
    ground.run(Command::new("ip").args(["link", "set", "rzb7", "alias", "the hall's"]));
    ground.kill_libvirtd();
    assert_eq!(ground.machine_processes().len(), 1);
    ground.cleanup(&[]);
    assert_eq!(ground.traces(), ["rzb7"], "only what is somebody else's stays");
    let disk = ground.path("storage/instances").join(INSTANCE.to_string()).join("disk.qcow2");
    assert!(disk.exists(), "disks stay");

    // With libvirt and with its disk the machine comes back, and goes again with libvirt's help.
    ground.start_libvirtd();
    create(&ground, &ground.hypervisor()).await;
    ground.cleanup(&["--purge"]);
    ground.cleanup(&["--purge"]);
    assert_eq!(ground.traces(), ["rzb7"]);
    assert_eq!(ground.virsh(&["list", "--all", "--name"]).trim(), "");
    assert!(!disk.exists());
    assert!(fs::read_dir(ground.path("storage")).unwrap().next().is_none());
}

#[test]
fn cleanup_leaves_nothing_of_ours_with_libvirt_and_without() {
    lose_everything(Ground::prepare());
}
