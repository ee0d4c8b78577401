//! Prints how fast UCI is parsed and printed, at 2,000 and at 40,000 sections, as rows of bench/run's table.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use uci::{Package, PackageName};

const ROUNDS: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = PackageName::new("dhcp")?;
    for sections in [2_000, 40_000] {
        let text = hosts(sections);
        let (parse, package) = best(|| Package::parse(name.clone(), &text));
        let package = package?;
        let (print, printed) = best(|| package.print());
        let (canonical, _) = best(|| package.canonical());
        assert_eq!(printed, text, "what was parsed prints back");
        for (verb, time) in [("parse", parse), ("print", print), ("print in canonical form", canonical)] {
            let megabytes = text.len() as f64 / 1e6;
            let seconds = time.as_secs_f64();
            println!("UCI of {sections} sections, {verb}\tlinear\t{:.0} MB/s\t", megabytes / seconds);
        }
    }
    Ok(())
}

/// A file of static leases, as a big router has it.
fn hosts(sections: usize) -> String {
    let mut text = String::new();
    for number in 0..sections {
        let (high, low) = (number / 256, number % 256);
        let _infallible = write!(
            text,
            "\nconfig host 'host{number}'\n\toption name 'instance-{number}'\n\tlist mac '02:00:00:00:{high:02x}:{low:02x}'\n\
             \toption ip '10.0.{high}.{low}'\n\toption dns '1'\n\toption instance 'rz1'\n"
        );
    }
    text.push('\n');
    text
}

/// The shortest of some rounds.
fn best<T>(mut work: impl FnMut() -> T) -> (Duration, T) {
    let mut fastest: Option<(Duration, T)> = None;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        if fastest.as_ref().is_none_or(|(time, _)| elapsed < *time) {
            fastest = Some((elapsed, result));
        }
    }
    fastest.expect("invariant: there is at least one round")
}
