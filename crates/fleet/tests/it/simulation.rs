//! A whole fleet in one thread, by a seed: loss, reordering, partitions, clocks that are wrong, crashes at every write,
//! a master that lies and devices that do. A failure names its seed, and `RHYZOME_SIMULATION_SEED` plays it again.
//!
//! It runs for 40 s; `RHYZOME_SIMULATION_SECONDS` gives it more.

pub mod fleet_of;
mod host;
mod liar;
mod scenario;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scenario::Scenario;

const SECONDS: u64 = 40;

#[test]
fn whatever_happens_nobody_applies_what_was_not_signed_and_nothing_is_lost() {
    let only = number("RHYZOME_SIMULATION_SEED");
    let first = only.unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(number("RHYZOME_SIMULATION_SECONDS").unwrap_or(SECONDS));
    let (next, done) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = || {
        while only.is_none() || next.load(Ordering::Relaxed) == first {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if Instant::now() >= until && seed > first {
                break;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| Scenario::of(seed).run())) {
                println!("seed {seed} failed: RHYZOME_SIMULATION_SEED={seed} plays it again");
                resume_unwind(panic);
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    println!("{} seeds", done.load(Ordering::Relaxed));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?} is not a number")))
}
