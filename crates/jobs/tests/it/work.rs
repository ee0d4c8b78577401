//! Jobs down, reports and observations up.

use std::sync::Arc;

use jobs::simulated::Simulated;
use jobs::{Job, Outcome};
use serde_json::json;

use crate::core::Core;
use crate::{Agent, gone, job, network, state, version};

#[tokio::test]
async fn jobs_are_applied_and_reported() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_connected().await;
    core.put(job(1, "1:1"));
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    assert_eq!(core.state().reports[0].status, Some(json!({"endpoint_host": "127.0.0.1"})));

    core.put(gone(1, "1:2"));
    core.until_said(network(1), version("1:2"), Outcome::Applied).await;
    assert!(target.state().objects.is_empty());
    assert_eq!(std::fs::read_dir(state(dir.path()).join("desired")).unwrap().count(), 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_newer_version_takes_the_place_of_those_that_wait() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    target.close();
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    crate::until("the first version is kept", || state(dir.path()).join(file(1)).exists()).await;
    for revision in ["1:2", "1:3", "1:4"] {
        core.put(job(1, revision));
    }
    // Jobs come in order, so all of network 1's are there once this one was refused.
    core.put(Job { requires: vec!["sentinel".to_owned()], ..job(2, "1:1") });
    core.until_said(network(2), version("1:1"), Outcome::Refused).await;
    target.open();
    core.until_said(network(1), version("1:4"), Outcome::Applied).await;
    agent.stop().await;
    let handed: Vec<String> = target.state().receipts.iter().map(|receipt| receipt.version.to_string()).collect();
    assert_eq!(handed, ["1:1", "1:4"]);
}

#[tokio::test]
async fn what_waits_for_a_router_goes_into_one_call() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    target.close();
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    crate::until("the first job is kept", || state(dir.path()).join(file(1)).exists()).await;
    for number in 2..=50 {
        core.put(job(number, "1:1"));
    }
    core.put(Job { requires: vec!["sentinel".to_owned()], ..job(99, "1:1") });
    core.until_said(network(99), version("1:1"), Outcome::Refused).await;
    target.open();
    core.until_said(network(50), version("1:1"), Outcome::Applied).await;
    agent.stop().await;
    assert!(target.state().receipts.iter().any(|receipt| receipt.together == 49));
}

#[tokio::test]
async fn older_versions_are_refused() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:5"));
    core.until_said(network(1), version("1:5"), Outcome::Applied).await;
    core.blurt(job(1, "1:4"));
    core.until_said(network(1), version("1:4"), Outcome::Refused).await;
    let reason = core.state().reports.last().unwrap().reason.clone().unwrap();
    assert_eq!(reason, "version 1:4 is older than 1:5, which is here");
    agent.stop().await;

    // The same after a restart, from what the target holds.
    let agent = Agent::start(&core, dir.path(), &target);
    core.until("the second hello", |state| state.hellos.len() == 2).await;
    core.blurt(job(1, "1:3"));
    core.until_said(network(1), version("1:3"), Outcome::Refused).await;
    agent.stop().await;
    assert_eq!(target.state().receipts.len(), 1);
}

#[tokio::test]
async fn a_feature_that_is_lacking_is_named() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(Job { requires: vec!["vxlan".to_owned()], ..job(1, "1:1") });
    core.until_said(network(1), version("1:1"), Outcome::Refused).await;
    assert_eq!(core.state().reports[0].reason.as_deref(), Some("this agent lacks the feature \"vxlan\""));
    agent.stop().await;
    assert!(target.state().receipts.is_empty());
}

#[tokio::test]
async fn what_failed_is_tried_again() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::hypervisor()));
    target.answer(network(1), &[Outcome::Retrying]);
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    core.until_said(network(1), version("1:1"), Outcome::Retrying).await;
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    agent.stop().await;
    assert_eq!(target.state().receipts.len(), 2);
}

#[tokio::test]
async fn a_target_that_panics_is_tried_again() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::hypervisor()));
    target.state().panic_once = true;
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    core.until_said(network(1), version("1:1"), Outcome::Retrying).await;
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    agent.stop().await;
}

#[tokio::test]
async fn observations_reach_the_core() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let agent = Agent::start(&core, dir.path(), &target);
    target.observe(network(1), &json!({"endpoint_host": "192.0.2.7"})).await;
    let seen = (network(1), json!({"endpoint_host": "192.0.2.7"}));
    core.until("the observation", |state| state.observations.contains(&seen)).await;
    agent.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_the_work_and_its_report() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    target.close();
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    crate::until("the job is kept", || state(dir.path()).join(file(1)).exists()).await;
    let stopping = tokio::spawn(agent.stop());
    target.open();
    stopping.await.unwrap();
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    target.close();
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    crate::until("the job is kept", || state(dir.path()).join(file(1)).exists()).await;
    let begun = std::time::Instant::now();
    agent.stop().await;
    assert!(begun.elapsed().as_secs() < 10);
}

fn file(number: u64) -> String {
    format!("desired/{}.json", network(number).to_string().replace('/', "."))
}
