//! The agent is killed at any moment, and the next run ends where the first would have.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use jobs::desired::Power;
use jobs::observed::{Instance, PowerState};
use jobs::{Object, Target};
use serde_json::json;

use crate::ground::{Ground, INSTANCE, NETWORK, as_sent, bring, remove};

/// How long a run lives before it is killed: from before it did anything to after it is done.
const LIVES: [u64; 8] = [0, 20, 40, 60, 90, 150, 250, 500];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn be_killed(ground: Ground) {
    let (target, context) = (ground.hypervisor(), ground.context());
    let instance = as_sent(&ground.instance(Power::Running));
    let segment = serde_json::to_string(&ground.segment()).unwrap();
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let create = json!([
        {"object": Object::Segment(NETWORK).to_string(), "version": "1:1", "desired": parsed(&segment)},
        {"object": Object::Instance(INSTANCE).to_string(), "version": "1:1", "desired": parsed(&instance)},
    ]);
    let delete = json!([
        {"object": Object::Instance(INSTANCE).to_string(), "version": "1:2"},
        {"object": Object::Segment(NETWORK).to_string(), "version": "1:2"},
    ]);
    for life in LIVES.map(Duration::from_millis) {
        run_and_kill(&ground, &create, life).await;
        bring(&target, &context, Object::Segment(NETWORK), "1:1", segment.clone()).await;
        let report = bring(&target, &context, Object::Instance(INSTANCE), "1:1", instance.clone()).await;
        let status: Instance = serde_json::from_value(report.status.unwrap()).unwrap();
        assert_eq!(status.power, PowerState::Running, "after {life:?}");
        assert_eq!(ground.machine_processes().len(), 1, "after {life:?}");
        let mut files: Vec<String> = fs::read_dir(ground.path("storage/instances").join(INSTANCE.to_string()))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["console.log", "disk.qcow2", "record.json", "report.log", "seed.iso"], "after {life:?}");

        run_and_kill(&ground, &delete, life).await;
        remove(&target, &context, Object::Instance(INSTANCE)).await;
        remove(&target, &context, Object::Segment(NETWORK)).await;
        assert_eq!(ground.traces(), [] as [String; 0], "after {life:?}");
        assert_eq!(target.held().await.unwrap(), [], "after {life:?}");
        // A file that a killed run was fetching goes when the agent starts.
        let target = ground.hypervisor();
        assert_eq!(target.held().await.unwrap(), []);
        assert_eq!(fs::read_dir(ground.path("storage/images")).unwrap().count(), 0, "after {life:?}");
    }
}

#[test]
fn a_killed_agent_finishes_when_it_runs_again() {
    be_killed(Ground::prepare());
}

async fn run_and_kill(ground: &Ground, states: &serde_json::Value, life: Duration) {
    fs::write(ground.path("states.json"), states.to_string()).unwrap();
    let mut agent = Command::new(apply_example())
        .args([ground.path("rhyzome-libvirt.json"), ground.image.clone(), ground.path("states.json")])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // How long it lives is what varies here; nothing is waited for.
    tokio::time::sleep(life).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// The example lies beside the folder of this test.
fn apply_example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/apply");
    assert!(example.is_file(), "{} is missing: cargo build -p rhyzome-libvirt --examples", example.display());
    example
}
