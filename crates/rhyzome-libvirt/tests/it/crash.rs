//! The agent is killed at any moment, and the next run ends where the first would have.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobs::desired::Power;
use jobs::observed::{Instance, PowerState};
use jobs::{Context, Object, Outcome, Report, Target, Want};
use serde_json::json;

use crate::ground::{Ground, INSTANCE, NETWORK, apply, as_sent};

/// How long a run lives before it is killed: from before it did anything to after it is done.
const LIVES: [u64; 8] = [0, 20, 40, 60, 90, 150, 250, 500];
/// How long something that a killed run had started may be in the way of the next.
const IN_THE_WAY: Duration = Duration::from_secs(10);

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
        bring_again(&target, &context, Object::Segment(NETWORK), Some(&segment)).await;
        let report = bring_again(&target, &context, Object::Instance(INSTANCE), Some(&instance)).await;
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
        bring_again(&target, &context, Object::Instance(INSTANCE), None).await;
        bring_again(&target, &context, Object::Segment(NETWORK), None).await;
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

/// What a killed run had started, an `ip` say, may get in the way of the next one: it tries again, as the agent does.
async fn bring_again(target: &dyn Target, context: &Context, object: Object, desired: Option<&str>) -> Report {
    let deadline = Instant::now() + IN_THE_WAY;
    loop {
        let version = if desired.is_some() { "1:1" } else { "1:2" };
        let want = desired.map_or(Want::Gone, |state| Want::Desired(state.to_owned()));
        let report = apply(target, context, object, version, want).await;
        match report.outcome {
            Outcome::Applied => return report,
            Outcome::Retrying if Instant::now() < deadline => {}
            outcome => panic!("{object}: {outcome:?}, {:?}", report.reason),
        }
    }
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
