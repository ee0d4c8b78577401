//! The core goes away and comes back.

use std::sync::Arc;

use jobs::simulated::Simulated;
use jobs::{AgentConfig, CoreUrls, Outcome};
use serde_json::json;

use crate::core::Core;
use crate::{Agent, job, network, state, version};

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

/// Two cores of one installation, of which the first is away at first and the second later.
#[tokio::test]
async fn of_several_cores_whichever_is_there_is_taken() {
    let (mut core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let invitation_file = dir.path().join("invitation");
    config::file::write_private(&invitation_file, core.invite().reveal().reveal().as_bytes()).unwrap();
    let listed = |first, second| -> CoreUrls {
        serde_json::from_value(json!([format!("https://{first}"), format!("https://{second}")])).unwrap()
    };
    let config = AgentConfig {
        core: Some(listed(away, core.address)),
        invitation_file: Some(invitation_file),
        tls: None,
        state_dir: state(dir.path()),
    };
    let agent = Agent::with(config.clone(), &target);
    core.put(job(1, "1:1"));
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;

    // The one that worked goes, and the other comes.
    core.kill();
    core.address = away;
    core.serve();
    core.put(job(1, "1:2"));
    core.until_said(network(1), version("1:2"), Outcome::Applied).await;
    agent.stop().await;
}
