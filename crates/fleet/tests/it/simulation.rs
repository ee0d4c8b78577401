//! A whole fleet in one thread, by a seed: loss, reordering, partitions, clocks that are wrong, crashes at every write,
//! a master that lies and devices that do. A failure names its seed, and `RHYZOME_SIMULATION_SEED` plays it again.
//!
//! The suite plays the first seeds; `RHYZOME_SIMULATION_SEEDS` says how many.

pub mod fleet_of;
mod host;
mod liar;
mod masters;
mod scenario;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use masters::{Fate, Masters};
use scenario::Scenario;

/// How many seeds the suite plays.
const SEEDS: u64 = 800;
/// And of masters that are lost or come back.
const MASTERS: u64 = 60;

#[test]
fn whatever_happens_nobody_applies_what_was_not_signed_and_nothing_is_lost() {
    play(SEEDS, |seed| Scenario::of(seed).run());
}

#[test]
fn where_a_master_is_lost_the_one_that_is_promoted_goes_on_with_all_that_was_decided() {
    play(MASTERS, |seed| Masters::of(seed, Fate::Lost).run(Fate::Lost));
}

#[test]
fn a_master_that_comes_back_from_a_backup_follows_before_it_votes() {
    play(MASTERS, |seed| Masters::of(seed, Fate::Restored).run(Fate::Restored));
}

/// Plays the first seeds, so many of them if nobody says how many.
fn play(usual: u64, scenario: impl Fn(u64) + Sync) {
    let seeds = match number("RHYZOME_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RHYZOME_SIMULATION_SEEDS").unwrap_or(usual),
    };
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                break;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
                println!("seed {seed} failed: RHYZOME_SIMULATION_SEED={seed} plays it again");
                next.store(seeds.end, Ordering::Relaxed);
                resume_unwind(panic);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?} is not a number")))
}
