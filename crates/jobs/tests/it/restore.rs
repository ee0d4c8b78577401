//! What is kept is brought up without the core.

use std::sync::Arc;

use jobs::simulated::Simulated;
use jobs::{Outcome, Want};

use crate::core::Core;
use crate::{Agent, gone, job, network, state, version};

/// An agent that has worked for a core which is away: its directory, and what the target held.
async fn orphaned(jobs: Vec<jobs::Job>) -> (Core, tempfile::TempDir, Arc<Simulated>) {
    let (mut core, dir, target) = (Core::start(), tempfile::tempdir().unwrap(), Arc::new(Simulated::hypervisor()));
    let agent = Agent::start(&core, dir.path(), &target);
    for job in jobs {
        let (object, version) = (job.object, job.version);
        core.put(job);
        core.until_said(object, version, Outcome::Applied).await;
    }
    agent.stop().await;
    core.kill();
    (core, dir, target)
}

#[tokio::test]
async fn a_target_that_lost_everything_gets_it_back() {
    let (core, dir, _) = orphaned(vec![job(1, "1:1"), job(2, "1:1"), job(1, "1:2")]).await;
    let empty = Arc::new(Simulated::hypervisor());
    let agent = Agent::start(&core, dir.path(), &empty);
    empty.until_held(network(1), version("1:2")).await;
    empty.until_held(network(2), version("1:1")).await;
    agent.stop().await;
    let Want::Desired(first) = job(1, "1:2").want else { panic!("it is desired") };
    assert_eq!(empty.state().objects[&network(1)].1, first);
}

#[tokio::test]
async fn what_is_held_is_left_alone_until_the_system_starts_again() {
    let (core, dir, target) = orphaned(vec![job(1, "1:1"), job(2, "1:1")]).await;
    target.state().objects.remove(&network(2));
    let handed = target.state().receipts.len();
    let agent = Agent::start(&core, dir.path(), &target);
    target.until_held(network(2), version("1:1")).await;
    agent.stop().await;
    assert_eq!(target.state().receipts.len(), handed + 1, "network 1 was there");

    let boot = state(dir.path()).join("boot-id");
    let before = std::fs::read_to_string(&boot).unwrap();
    std::fs::write(&boot, "the start before").unwrap();
    let agent = Agent::start(&core, dir.path(), &target);
    target.until(|state| state.receipts.len() == handed + 3).await;
    crate::until("the start is remembered", || std::fs::read_to_string(&boot).unwrap() == before).await;
    agent.stop().await;
}

#[tokio::test]
async fn what_somebody_takes_away_comes_back_within_a_look() {
    let core = Core::start();
    let (dir, target) = (tempfile::tempdir().unwrap(), Arc::new(Simulated::hypervisor()));
    target.answer(network(3), &[Outcome::Refused]);
    let agent = Agent::start(&core, dir.path(), &target);
    for (number, outcome) in [(1, Outcome::Applied), (2, Outcome::Applied), (3, Outcome::Refused)] {
        core.put(job(number, "1:1"));
        core.until_said(network(number), version("1:1"), outcome).await;
    }
    let handed = target.state().receipts.len();
    target.look().await;
    target.state().objects.remove(&network(1));
    // As an agent tells of what was edited.
    target.state().objects.get_mut(&network(2)).unwrap().0 = version("0:0");
    target.look().await;
    target.until_held(network(1), version("1:1")).await;
    target.until_held(network(2), version("1:1")).await;
    for number in [1, 2] {
        core.until("why", |state| {
            let mut told = state.reports.iter().filter(|report| report.object == network(number));
            told.clone().any(|report| report.reason.as_deref().is_some_and(|said| said.contains("somebody changed it")))
                && told.next_back().is_some_and(|report| report.outcome == Outcome::Applied)
        })
        .await;
    }
    agent.stop().await;
    assert_eq!(target.state().receipts.len(), handed + 2, "what was refused is not tried again");
}

#[tokio::test]
async fn what_is_gone_stays_gone() {
    let (core, dir, _) = orphaned(vec![job(1, "1:1"), job(2, "1:1"), gone(1, "1:2")]).await;
    let empty = Arc::new(Simulated::hypervisor());
    let agent = Agent::start(&core, dir.path(), &empty);
    empty.until_held(network(2), version("1:1")).await;
    agent.stop().await;
    assert_eq!(empty.state().receipts.len(), 1);
}

#[tokio::test]
async fn an_agent_that_is_killed_before_it_applied_does_so_when_it_is_back() {
    for last in [job(1, "1:2"), gone(1, "1:2")] {
        let leaves = matches!(last.want, Want::Gone);
        let (mut core, dir, target) = orphaned(vec![job(1, "1:1")]).await;
        target.close();
        core.serve();
        let agent = Agent::start(&core, dir.path(), &target);
        core.put(last);
        let file = state(dir.path()).join(format!("desired/{}.json", network(1).to_string().replace('/', ".")));
        let kept = || std::fs::read_to_string(&file).unwrap().contains("\"revision\":2");
        crate::until("the second version is kept", kept).await;
        agent.kill().await;
        core.kill();
        assert_eq!(target.state().objects[&network(1)].0, version("1:1"));

        target.open();
        let agent = Agent::start(&core, dir.path(), &target);
        target
            .until(|state| match state.objects.get(&network(1)) {
                Some((held, _)) => !leaves && *held == version("1:2"),
                None => leaves,
            })
            .await;
        core.serve();
        core.until_said(network(1), version("1:2"), Outcome::Applied).await;
        agent.stop().await;
    }
}
