//! Every operation of every kind, under every fault: each step twice, a refusal at each step, a crash before, within and
//! after each transaction, a delete at each point. Whatever happened, in the end what was asked for is there, and after
//! its end nothing is left: no allocation, job, secret or file, and no object on a target.
//!
//! Kinds and their steps come from `kind`, so that a kind is in here by being a kind.

mod trial;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use testbed::Engine;
use tokio_util::sync::CancellationToken;
use types::ResourceId;

use crate::executor;
use crate::kind::{EVERY, Managed, every_kind, plan};
use trial::{Fault, Rest, Trial};

/// Each test on each engine.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(testbed::Engine::Sqlite).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(testbed::Engine::Postgres).await;
            })*
        }
    };
}
on_both! {
    every_step_twice
    a_crash_before_and_after_every_transaction
    a_crash_within_every_transaction
    a_delete_at_every_point
    a_refusal_at_every_step
    a_lost_host_at_every_point
    a_delete_and_a_lost_host_at_every_point
    two_that_end_at_once_leave_nothing
    what_needs_a_failed_network_fails_with_it
    what_is_late_is_stuck_until_it_goes_on
    an_unreadable_row_stops_no_other
    a_longer_page_makes_no_more_queries
    an_end_waits_for_nobody
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Delete,
}

const VERBS: [Verb; 3] = [Verb::Create, Verb::Update, Verb::Delete];

/// How much of a transaction is done before a crash within it. What is not committed is undone by the engine, so that
/// one place in the middle is enough where every run is slow.
fn cuts(engine: Engine) -> &'static [usize] {
    match engine {
        Engine::Sqlite => &[1, 3, 8, 20, 45, 90],
        Engine::Postgres => &[20],
    }
}

/// An installation with what a kind needs, and how it is at rest.
async fn ground(engine: Engine, kind: ResourceId) -> (Trial, Rest) {
    let mut trial = Trial::new(engine).await;
    let needed = every_kind!(kind, K => K::EXAMPLE.ground);
    for (noun, name) in needed {
        let kind = EVERY.into_iter().find(|kind| plan(*kind).noun == *noun).unwrap();
        trial.create(kind, name).await;
    }
    trial.settle().await;
    let rest = trial.rest().await;
    (trial, rest)
}

/// Asks for it, after what must come before has come about.
async fn ask(trial: &mut Trial, kind: ResourceId, verb: Verb) -> ResourceId {
    let id = trial.create(kind, "trial").await;
    if verb != Verb::Create {
        trial.settle().await;
        assert_eq!(trial.state(id).await.as_deref(), Some("ready"));
    }
    match verb {
        Verb::Create => {}
        Verb::Update => trial.update(id).await,
        Verb::Delete => trial.delete(id).await,
    }
    id
}

/// Deletes what is left of the resource and expects everything as it was before.
async fn end(trial: &mut Trial, id: ResourceId, before: &Rest, what: &str) {
    if trial.state(id).await.is_some() {
        trial.delete(id).await;
        trial.settle().await;
    }
    assert_eq!(trial.state(id).await, None, "{what}");
    assert_eq!(trial.rest().await, *before, "{what}");
}

fn expected(verb: Verb) -> Option<&'static str> {
    (verb != Verb::Delete).then_some("ready")
}

/// Runs a fault at one point after the other, until there are no more.
async fn at_every_point(engine: Engine, fault: Fault) {
    for kind in EVERY {
        let (mut trial, before) = ground(engine, kind).await;
        for verb in VERBS {
            // Transactions are at odd points, between those before and after them.
            let every = if matches!(fault, Fault::Cut(_)) { 2 } else { 1 };
            for point in (1..).step_by(every) {
                let what = format!("{verb:?} of {}, {fault:?} at point {point}", plan(kind).noun);
                let id = ask(&mut trial, kind, verb).await;
                trial.fault = Some((point, fault));
                let came = trial.settle().await;
                match fault {
                    Fault::Delete if came => assert_eq!(trial.state(id).await, None, "{what}"),
                    _ => assert_eq!(trial.state(id).await.as_deref(), expected(verb), "{what}"),
                }
                end(&mut trial, id, &before, &what).await;
                if !came {
                    break;
                }
            }
        }
    }
}

async fn every_step_twice(engine: Engine) {
    for kind in EVERY {
        let (mut trial, before) = ground(engine, kind).await;
        for verb in VERBS {
            let what = format!("{verb:?} of {}", plan(kind).noun);
            let id = ask(&mut trial, kind, verb).await;
            trial.twice = true;
            trial.settle().await;
            assert_eq!(trial.state(id).await.as_deref(), expected(verb), "{what}");
            trial.twice = false;
            end(&mut trial, id, &before, &what).await;
        }
    }
}

async fn a_crash_before_and_after_every_transaction(engine: Engine) {
    at_every_point(engine, Fault::Crash).await;
}

async fn a_crash_within_every_transaction(engine: Engine) {
    for polls in cuts(engine) {
        at_every_point(engine, Fault::Cut(*polls)).await;
    }
}

async fn a_delete_at_every_point(engine: Engine) {
    at_every_point(engine, Fault::Delete).await;
}

async fn a_refusal_at_every_step(engine: Engine) {
    for kind in EVERY {
        let (mut trial, before) = ground(engine, kind).await;
        for (verb, steps) in [(Verb::Create, plan(kind).create), (Verb::Update, plan(kind).update)] {
            for (position, step) in (0_u32..).zip(steps) {
                for away in [false, true] {
                    let what = format!("{verb:?} of {}, refused at {}, away: {away}", plan(kind).noun, step.name());
                    let (id, ready) = ready_to(&mut trial, kind, verb).await;
                    trial.refuse_at = Some(position);
                    refuse(&mut trial, id, verb, away).await;
                    match (ready, trial.state(id).await.as_deref()) {
                        (None, Some("failed")) => assert_eq!(trial.rest().await.taken(), before.taken(), "{what}"),
                        (Some(ready), Some("ready")) => assert_eq!(trial.rest().await, ready, "{what}"),
                        // No target has a part in this step.
                        (None, Some("ready")) => {}
                        (_, state) => panic!("{what}: {state:?}"),
                    }
                    end(&mut trial, id, &before, &what).await;
                }
            }
        }
    }
}

/// A create or an update whose hypervisor is declared lost comes about on another.
async fn a_lost_host_at_every_point(engine: Engine) {
    lose_at_every_point(engine, &[Verb::Create, Verb::Update], Fault::Lose).await;
}

async fn a_delete_and_a_lost_host_at_every_point(engine: Engine) {
    lose_at_every_point(engine, &[Verb::Create, Verb::Update], Fault::DeleteAndLose).await;
}

/// Whatever was asked for, the lost hypervisor comes back in the end and lets go of everything.
async fn lose_at_every_point(engine: Engine, verbs: &[Verb], fault: Fault) {
    let kind = EVERY.into_iter().find(|kind| plan(*kind).noun == "instance").unwrap();
    let (mut trial, _) = ground(engine, kind).await;
    trial.add_hypervisor().await;
    let before = trial.rest().await;
    for verb in verbs {
        for point in 1.. {
            let what = format!("{verb:?}, {fault:?} at point {point}");
            let id = ask(&mut trial, kind, *verb).await;
            trial.fault = Some((point, fault));
            let came = trial.settle().await;
            let expected = (fault == Fault::Lose || !came).then_some("ready");
            assert_eq!(trial.state(id).await.as_deref(), expected, "{what}");
            trial.find_again().await;
            end(&mut trial, id, &before, &what).await;
            if !came {
                break;
            }
        }
    }
}

/// Asks for a create; or for an update of what rests as it is given.
async fn ready_to(trial: &mut Trial, kind: ResourceId, verb: Verb) -> (ResourceId, Option<Rest>) {
    let id = trial.create(kind, "trial").await;
    if verb == Verb::Create {
        return (id, None);
    }
    trial.settle().await;
    let rest = trial.rest().await;
    trial.update(id).await;
    (id, Some(rest))
}

/// Runs into the refusal; the targets may be away while it is taken back.
async fn refuse(trial: &mut Trial, id: ResourceId, verb: Verb, away: bool) {
    let failed = trial.until_failed().await;
    if failed && verb == Verb::Create {
        trial.undo_again(id).await;
    }
    if away {
        trial.world.away = trial.targets.iter().copied().collect();
        for _ in 0..3 {
            trial.round().await;
            trial.deliver().await;
        }
        trial.world.away.clear();
    }
    trial.settle().await;
}

/// Each left the segment to the other, and it stayed for ever.
async fn two_that_end_at_once_leave_nothing(engine: Engine) {
    let kind = EVERY.into_iter().find(|kind| plan(*kind).noun == "instance").unwrap();
    let (mut trial, before) = ground(engine, kind).await;
    let (one, other) = (trial.create(kind, "one").await, trial.create(kind, "other").await);
    trial.settle().await;
    trial.delete(one).await;
    trial.delete(other).await;
    trial.settle().await;
    assert_eq!(trial.rest().await, before);
}

/// An instance that was asked for together with its network brought the refused network up again.
async fn what_needs_a_failed_network_fails_with_it(engine: Engine) {
    let mut trial = Trial::new(engine).await;
    let before = trial.rest().await;
    let mut made = Vec::new();
    for kind in EVERY {
        for name in ["ground", "other"].into_iter().take(if plan(kind).noun == "network" { 2 } else { 1 }) {
            made.push(trial.create(kind, name).await);
        }
    }
    trial.world.refuses_networks = true;
    trial.settle().await;
    trial.world.refuses_networks = false;
    for id in made.iter().rev() {
        let state = trial.state(*id).await;
        let expected = if matches!(id, ResourceId::Image(_)) { "ready" } else { "failed" };
        assert_eq!(state.as_deref(), Some(expected), "{id}");
        trial.delete(*id).await;
        trial.settle().await;
    }
    assert_eq!(trial.rest().await, before);
}

async fn what_is_late_is_stuck_until_it_goes_on(engine: Engine) {
    let (mut trial, _) = ground(engine, EVERY[0]).await;
    let id = trial.create(EVERY[0], "late").await;
    trial.world.away = trial.targets.iter().copied().collect();
    trial.round().await;
    assert_eq!(trial.condition(id, "stuck").await, None);
    trial.let_time_pass().await;
    for _ in 0..2 {
        trial.round().await;
    }
    assert_eq!(trial.condition(id, "stuck").await, Some(true));
    assert_eq!(trial.events_about(id, "stuck: ").await, 1, "it is told once");
    trial.world.away.clear();
    trial.settle().await;
    assert_eq!(trial.condition(id, "stuck").await, Some(false));
    assert_eq!(trial.state(id).await.as_deref(), Some("ready"));
}

/// An operation whose row cannot be read kept the ones behind it.
async fn an_unreadable_row_stops_no_other(engine: Engine) {
    let mut trial = Trial::new(engine).await;
    let (broken, whole) = (trial.create(EVERY[0], "broken").await, trial.create(EVERY[0], "whole").await);
    trial.break_operation(broken).await;
    trial.run_until_ready(whole).await;
    let operation = trial.under_way().await.pop().unwrap();
    assert_eq!(operation.resource, broken);
    let reason = operation.reason.unwrap();
    assert!(reason.contains("an error in the core") && reason.contains("step.awaits"), "{reason}");
}

/// Each row of a page had asked who holds it, and whether that one is there.
async fn a_longer_page_makes_no_more_queries(engine: Engine) {
    for kind in EVERY {
        let (mut trial, _) = ground(engine, kind).await;
        let mut queries = BTreeSet::new();
        for (name, length) in [("one", 1), ("two", 2), ("three", 3)] {
            trial.create(kind, name).await;
            trial.settle().await;
            let (items, made) = trial.page(kind).await;
            assert!(items >= length);
            queries.insert(made);
        }
        assert_eq!(queries.len(), 1, "{}: {queries:?}", plan(kind).noun);
        assert!(queries.first().is_some_and(|made| *made <= 2), "{}: {queries:?}", plan(kind).noun);
    }
}

/// A core with thousands of operations under way did not end: its claims stood behind all of them.
async fn an_end_waits_for_nobody(engine: Engine) {
    let mut trial = Trial::new(engine).await;
    trial.create(EVERY[0], "waiting").await;
    let core = Arc::clone(trial.core());
    let writer = core.store.write().await.unwrap();
    let shutdown = CancellationToken::new();
    let executor = tokio::spawn(executor::run(Arc::clone(&core), shutdown.clone()));
    // It comes as far as it can without a writer.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(15), executor).await;
    assert!(ended.is_ok(), "the executor is still there");
    drop(writer);
}
