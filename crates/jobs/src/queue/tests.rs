use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use types::{Epoch, NetworkId, Revision};

use super::*;

fn object(number: u64) -> Object {
    Object::Network(NetworkId::from_bits(number))
}

fn version(revision: u64) -> Version {
    Version { epoch: Epoch(1), revision: Revision(revision) }
}

fn job(number: u64, revision: u64) -> Job {
    let want = Want::Desired("{}".to_owned());
    Job { object: object(number), version: version(revision), requires: Vec::new(), want }
}

fn gone(number: u64, revision: u64) -> Job {
    Job { want: Want::Gone, ..job(number, revision) }
}

fn taken(queue: &mut Queue, now: Instant) -> Vec<(Object, Version)> {
    queue.take(now).into_iter().flatten().map(|job| (job.object, job.version)).collect()
}

fn end(queue: &mut Queue, number: u64, outcome: Outcome, now: Instant) {
    queue.finish(&BTreeMap::from([(object(number), outcome)]), now, || Jitter::from_bits(u32::MAX));
}

#[test]
fn a_router_gets_all_that_waits_in_one_call() {
    let (mut queue, now) = (Queue::new(Batching::Together), Instant::now());
    for number in [2, 1] {
        assert_eq!(queue.offer(job(number, 1), now), Offer::Taken);
    }
    assert_eq!(taken(&mut queue, now), [(object(1), version(1)), (object(2), version(1))]);
    queue.offer(job(3, 1), now);
    assert!(taken(&mut queue, now).is_empty(), "one call at a time");
    queue.finish(&BTreeMap::from([1, 2].map(|number| (object(number), Outcome::Applied))), now, Jitter::draw);
    assert_eq!(taken(&mut queue, now), [(object(3), version(1))]);
}

#[test]
fn a_hypervisor_gets_one_job_a_call_and_never_two_for_one_object() {
    let (mut queue, now) = (Queue::new(Batching::Each(2)), Instant::now());
    for number in [1, 2, 3] {
        queue.offer(job(number, 1), now);
    }
    assert_eq!(taken(&mut queue, now), [(object(1), version(1))]);
    queue.offer(job(1, 2), now);
    assert_eq!(taken(&mut queue, now), [(object(2), version(1))]);
    assert!(taken(&mut queue, now).is_empty(), "two calls at once");
    end(&mut queue, 2, Outcome::Applied, now);
    assert_eq!(taken(&mut queue, now), [(object(3), version(1))], "object 1 is still in a call");
    end(&mut queue, 1, Outcome::Retrying, now);
    assert_eq!(taken(&mut queue, now), [(object(1), version(2))], "the newer version waits for nothing");
}

#[test]
fn the_newest_version_wins() {
    let (mut queue, now) = (Queue::new(Batching::Together), Instant::now());
    queue.offer(job(1, 1), now);
    assert_eq!(queue.offer(job(1, 3), now), Offer::Taken);
    assert_eq!(queue.offer(job(1, 2), now), Offer::Older { newest: version(3) });
    assert_eq!(queue.offer(job(1, 3), now), Offer::Known);
    assert_eq!(taken(&mut queue, now), [(object(1), version(3))]);
    assert_eq!(queue.offer(job(1, 3), now), Offer::Known);
    end(&mut queue, 1, Outcome::Applied, now);
    assert_eq!(queue.offer(job(1, 3), now), Offer::Taken, "the core asks again for what it saw no report of");
}

#[test]
fn what_the_target_holds_refuses_older_versions() {
    let (mut queue, now) = (Queue::new(Batching::Together), Instant::now());
    queue.learn(Held { object: object(1), version: version(5) });
    assert_eq!(queue.offer(job(1, 4), now), Offer::Older { newest: version(5) });
    assert_eq!(queue.offer(job(1, 5), now), Offer::Taken);
    let restored = Job { version: Version { epoch: Epoch(2), revision: Revision(1) }, ..job(1, 1) };
    assert_eq!(queue.offer(restored, now), Offer::Taken);
}

#[test]
fn revisions_may_begin_anew_after_an_object_was_gone() {
    let (mut queue, now) = (Queue::new(Batching::Together), Instant::now());
    queue.offer(gone(1, 9), now);
    assert_eq!(taken(&mut queue, now), [(object(1), version(9))]);
    end(&mut queue, 1, Outcome::Applied, now);
    assert_eq!(queue.offer(job(1, 1), now), Offer::Taken);
}

#[test]
fn retries_wait_longer_each_time_and_a_newer_version_does_not() {
    let (mut queue, start) = (Queue::new(Batching::Together), Instant::now());
    queue.offer(job(1, 1), start);
    let mut now = start;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(taken(&mut queue, now).len(), 1);
        end(&mut queue, 1, Outcome::Retrying, now);
        assert_eq!(queue.wake(), Some(now + Duration::from_secs(seconds)));
        assert!(taken(&mut queue, now + Duration::from_millis(seconds * 1000 - 1)).is_empty());
        now += Duration::from_secs(seconds);
    }
    taken(&mut queue, now);
    end(&mut queue, 1, Outcome::Retrying, now);
    assert_eq!(queue.offer(job(1, 2), now), Offer::Taken);
    assert_eq!(taken(&mut queue, now), [(object(1), version(2))]);
    end(&mut queue, 1, Outcome::Retrying, now);
    assert_eq!(queue.wake(), Some(now + Duration::from_secs(1)), "failures count for one version");
}

#[test]
fn a_refused_job_is_not_tried_again() {
    let (mut queue, now) = (Queue::new(Batching::Each(1)), Instant::now());
    queue.offer(job(1, 1), now);
    taken(&mut queue, now);
    end(&mut queue, 1, Outcome::Refused, now);
    assert_eq!(queue.wake(), None);
    assert!(taken(&mut queue, now + Duration::from_secs(3600)).is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Offer { number: u64, revision: u64, gone: bool },
    Take,
    Finish { which: usize, outcome: Outcome },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Applied), Just(Outcome::Retrying), Just(Outcome::Refused)];
    prop_oneof![
        (1..5_u64, 1..8_u64, any::<bool>()).prop_map(|(number, revision, gone)| Step::Offer { number, revision, gone }),
        Just(Step::Take),
        (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Finish { which, outcome }),
        (0..70_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

proptest! {
    /// Whatever comes in whatever order: no object is in two calls, calls keep to their number, no version goes
    /// backwards while its object lives, and in the end the newest version of everything was brought about.
    #[test]
    fn the_rules_hold_in_every_order(steps in prop::collection::vec(step(), 0..120), each in 0..4_usize) {
        let batching = if each == 0 { Batching::Together } else { Batching::Each(each) };
        let mut queue = Queue::new(batching);
        let mut now = Instant::now();
        let mut calls: Vec<Vec<Job>> = Vec::new();
        let mut newest: BTreeMap<Object, Version> = BTreeMap::new();
        let mut settled: BTreeMap<Object, Version> = BTreeMap::new();
        let mut seen: BTreeMap<Object, Version> = BTreeMap::new();

        let ending = (0..40).flat_map(|_| [
            Step::Take,
            Step::Finish { which: 0, outcome: Outcome::Applied },
            Step::Wait { seconds: 61 },
        ]);
        for step in steps.into_iter().chain(ending) {
            match step {
                Step::Offer { number, revision, gone: false } => {
                    if queue.offer(job(number, revision), now) == Offer::Taken {
                        newest.insert(object(number), version(revision));
                    }
                }
                Step::Offer { number, revision, gone: true } => {
                    if queue.offer(gone(number, revision), now) == Offer::Taken {
                        newest.insert(object(number), version(revision));
                    }
                }
                Step::Take => {
                    if let Some(jobs) = queue.take(now) {
                        for job in &jobs {
                            prop_assert!(seen.get(&job.object).is_none_or(|before| *before <= job.version));
                            seen.insert(job.object, job.version);
                        }
                        calls.push(jobs);
                    }
                    let objects: Vec<Object> = calls.iter().flatten().map(|job| job.object).collect();
                    prop_assert_eq!(objects.iter().collect::<BTreeSet<_>>().len(), objects.len());
                    prop_assert!(calls.len() <= each.max(1));
                    prop_assert!(each == 0 || calls.iter().all(|jobs| jobs.len() == 1));
                }
                Step::Finish { which, outcome } if !calls.is_empty() => {
                    let jobs = calls.remove(which % calls.len());
                    for job in &jobs {
                        if outcome != Outcome::Retrying {
                            settled.insert(job.object, job.version);
                        }
                        if outcome == Outcome::Applied && matches!(job.want, Want::Gone)
                            && newest[&job.object] == job.version {
                            seen.remove(&job.object);
                        }
                    }
                    let outcomes = jobs.iter().map(|job| (job.object, outcome)).collect();
                    queue.finish(&outcomes, now, || Jitter::from_bits(7));
                }
                Step::Finish { .. } => {}
                Step::Wait { seconds } => now += Duration::from_secs(seconds),
            }
        }
        prop_assert!(calls.is_empty() && queue.take(now).is_none() && queue.wake().is_none());
        prop_assert_eq!(settled, newest);
    }
}
