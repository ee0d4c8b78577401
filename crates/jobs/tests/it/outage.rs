//! The core goes away and comes back.

use std::sync::Arc;

use jobs::Outcome;
use jobs::simulated::Simulated;
use serde_json::json;

use crate::core::Core;
use crate::{Agent, job, network, version};

#[tokio::test]
async fn work_goes_on_and_is_reported_when_the_core_is_back() {
    let (mut core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    target.close();
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    core.until_connected().await;
    // The job arrived once what came after it did.
    core.put(jobs::Job { requires: vec!["sentinel".to_owned()], ..job(2, "1:1") });
    core.until_said(network(2), version("1:1"), Outcome::Refused).await;
    core.kill();
    target.open();
    target.until_held(network(1), version("1:1")).await;
    target.observe(network(1), &json!({"endpoint_host": "192.0.2.7"})).await;
    assert!(!core.state().said(network(1), version("1:1"), Outcome::Applied));

    core.serve();
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    core.until("the observation", |state| !state.observations.is_empty()).await;
    core.put(job(1, "1:2"));
    core.until_said(network(1), version("1:2"), Outcome::Applied).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_agent_starts_before_the_core_does() {
    let (mut core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let invited = core.invite();
    config::file::write_private(&dir.path().join("invitation"), invited.reveal().reveal().as_bytes()).unwrap();
    core.kill();
    let agent = Agent::start(&core, dir.path(), &target);
    crate::until("the target is read", || target.state().readings >= 1).await;
    core.put(job(1, "1:1"));
    core.serve();
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    agent.stop().await;
}

#[tokio::test]
async fn what_may_not_have_been_heard_is_said_again() {
    let (mut core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let agent = Agent::start(&core, dir.path(), &target);
    core.put(job(1, "1:1"));
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    core.kill();
    core.state().reports.clear();
    core.serve();
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    agent.stop().await;
}
