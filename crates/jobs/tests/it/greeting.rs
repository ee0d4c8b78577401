//! Whom an agent works for.

use std::sync::Arc;

use jobs::simulated::Simulated;
use jobs::{Batching, Held, Hello, Outcome};
use types::{ClusterId, Epoch};

use crate::core::{Core, State};
use crate::{Agent, job, network, state, version};

#[tokio::test]
async fn the_agent_says_what_it_is_and_what_its_target_holds() {
    let (core, dir) = (Core::start(), tempfile::tempdir().unwrap());
    let target = Arc::new(Simulated::new(&["vxlan"], Batching::Together));
    core.put(job(1, "1:4"));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_said(network(1), version("1:4"), Outcome::Applied).await;
    agent.stop().await;

    let agent = Agent::start(&core, dir.path(), &target);
    core.until("the second hello", |state| state.hellos.len() == 2).await;
    agent.stop().await;
    let hellos = core.state().hellos.clone();
    assert_eq!((hellos[0].cluster, hellos[0].epoch, held(&hellos[0]).len()), (None, Epoch(0), 0));
    assert_eq!((hellos[0].features.as_slice(), hellos[0].software.as_str()), (&["vxlan".to_owned()][..], "test 1.0"));
    assert_eq!((hellos[1].cluster, hellos[1].epoch), (Some(core.state().welcome.cluster), Epoch(1)));
    assert_eq!(held(&hellos[1])[0].version, version("1:4"));
}

#[tokio::test]
async fn another_cluster_gets_no_work_done() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_connected().await;
    agent.stop().await;
    core.state().welcome.cluster = ClusterId::from_bits(9);
    core.put(job(1, "1:1"));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until("two more tries", |state| state.hellos.len() >= 3).await;
    agent.stop().await;
    assert!(target.state().receipts.is_empty());
}

#[tokio::test]
async fn a_core_that_went_back_in_time_gets_no_work_done() {
    let (mut core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    core.state().welcome.epoch = Epoch(3);
    core.put(job(1, "3:1"));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_said(network(1), version("3:1"), Outcome::Applied).await;
    core.kill();
    core.state().welcome.epoch = Epoch(2);
    core.put(job(1, "3:2"));
    core.serve();
    let before = core.state().hellos.len();
    core.until("two more tries", |state| state.hellos.len() >= before + 2).await;
    assert_eq!(target.state().receipts.len(), 1);

    core.kill();
    core.state().welcome.epoch = Epoch(4);
    core.serve();
    core.until_said(network(1), version("3:2"), Outcome::Applied).await;
    agent.stop().await;
    let kept = std::fs::read_to_string(state(dir.path()).join("cluster.json")).unwrap();
    assert!(kept.contains("\"epoch\":4"), "{kept}");
}

#[tokio::test]
async fn an_agent_whose_target_cannot_be_read_says_so_and_nothing_else() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    target.state().unreadable = Some("the router is off".to_owned());
    core.put(job(1, "1:1"));
    let agent = Agent::start(&core, dir.path(), &target);
    let last = |state: &State| state.hellos.last().map(|hello| hello.reading.clone());
    let is_unread = |reason: &str| Some(Err(reason.to_owned()));
    core.until("why", |state| last(state) == is_unread("the router is off")).await;
    crate::until("the target is asked again", || target.state().readings >= 3).await;
    assert_eq!(core.state().hellos.len(), 1, "there is nothing else to say");

    target.state().unreadable = Some("the router refuses the login".to_owned());
    core.until("why now", |state| last(state) == is_unread("the router refuses the login")).await;
    target.state().unreadable = None;
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    assert_eq!(last(&core.state()).unwrap().unwrap().held, []);
    agent.stop().await;
}

#[tokio::test]
async fn what_is_kept_waits_for_a_target_that_cannot_be_read() {
    let (core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::router()));
    core.put(job(1, "1:1"));
    let agent = Agent::start(&core, dir.path(), &target);
    core.until_said(network(1), version("1:1"), Outcome::Applied).await;
    agent.stop().await;

    let empty = Arc::new(Simulated::router());
    empty.state().unreadable = Some("the router is off".to_owned());
    let agent = Agent::start(&core, dir.path(), &empty);
    core.until("why", |state| state.hellos.last().is_some_and(|hello| hello.reading.is_err())).await;
    assert!(empty.state().receipts.is_empty());
    empty.state().unreadable = None;
    empty.until_held(network(1), version("1:1")).await;
    agent.stop().await;
}

fn held(hello: &Hello) -> &[Held] {
    &hello.reading.as_ref().unwrap().held
}
