//! Hostile input for decoders of foreign bytes: a corpus of good input, and what chance makes of it.
//!
//! A decoder's tests call [`Corpus::run`] for a few seconds each (`RHYZOME_FUZZ_SECONDS` gives more). The seed is printed
//! and can be given again (`RHYZOME_FUZZ_SEED`). An input that makes the target panic is kept in the system's directory
//! for temporary files and named; memory beyond a gigabyte ends the process.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod mutation;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use random::Random;

/// How long a target is run where nobody says.
const SECONDS: u64 = 2;
/// The longest input that is made.
const LONGEST: usize = 64 << 10;
/// Mutations of one input at most.
const MUTATIONS: u64 = 8;
/// Address space that a target may take beside what the process has: much more than a bounded decoder needs.
const SPACE: u64 = 1 << 30;

/// Good input to begin with.
#[derive(Default)]
pub struct Corpus {
    inputs: Vec<Vec<u8>>,
}

impl Corpus {
    /// The files of a directory.
    pub fn of_directory(path: &Path) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        assert!(!files.is_empty(), "{} holds nothing to begin with", path.display());
        Self { inputs: files.iter().map(|file| read(file)).collect() }
    }

    /// These inputs.
    pub fn of(inputs: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { inputs: inputs.into_iter().collect() }
    }

    /// Feeds `target` every input as it is, and then mutated ones until the time is over.
    pub fn run(&self, target: impl Fn(&[u8])) {
        self.run_keeping(&std::env::temp_dir(), target);
    }

    /// The same; an input that makes the target panic is kept in `dir`.
    fn run_keeping(&self, dir: &Path, target: impl Fn(&[u8])) {
        let seed = number("RHYZOME_FUZZ_SEED").unwrap_or_else(seed);
        let until = Instant::now() + Duration::from_secs(number("RHYZOME_FUZZ_SECONDS").unwrap_or(SECONDS));
        println!("fuzzing with RHYZOME_FUZZ_SEED={seed}");
        bound_memory();
        self.inputs.iter().for_each(|input| feed(&target, input, seed, dir));
        let (mut random, mut count) = (Random::new(seed), 0_u64);
        while Instant::now() < until {
            feed(&target, &self.mutant(&mut random), seed, dir);
            count += 1;
        }
        println!("{count} inputs");
    }

    fn mutant(&self, random: &mut Random) -> Vec<u8> {
        let pick = |random: &mut Random| self.inputs.get(random.below(self.inputs.len())).cloned().unwrap_or_default();
        let mut input = pick(random);
        for _ in 0..=random.next() % MUTATIONS {
            let other = pick(random);
            mutation::mutate(&mut input, &other, random);
        }
        input.truncate(LONGEST);
        input
    }
}

fn feed(target: &impl Fn(&[u8]), input: &[u8], seed: u64, dir: &Path) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) else { return };
    let file = dir.join(format!("rhyzome-fuzz-{seed}-{}", std::process::id()));
    match std::fs::write(&file, input) {
        Ok(()) => println!("the input is in {}", file.display()),
        Err(error) => println!("the input could not be kept ({error}): {input:?}"),
    }
    resume_unwind(panic)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?} is not a number")))
}

/// A seed of the moment.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs() << 20 ^ u64::from(std::process::id()) << 40
}

/// Lets the process take little more memory than it has, so that a decoder without bounds fails.
fn bound_memory() {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or_default();
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_AS) {
        // Without it the test says less, but nothing wrong.
        let _ = setrlimit(Resource::RLIMIT_AS, (pages * 4096 + SPACE).min(hard), hard);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_target_that_panics_on_a_rare_byte_is_found_out() {
        let corpus = Corpus::of([b"harmless".to_vec()]);
        let dir = tempfile::tempdir().unwrap();
        let rare = |input: &[u8]| assert!(!input.contains(&b'\\'));
        let found = catch_unwind(AssertUnwindSafe(|| corpus.run_keeping(dir.path(), rare)));
        assert!(found.is_err());
        let kept: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        let [Ok(file)] = kept.as_slice() else { panic!("one input is kept: {kept:?}") };
        assert!(std::fs::read(file.path()).unwrap().contains(&b'\\'));
    }

    #[test]
    fn every_input_is_fed_as_it_is_and_others_stay_short() {
        let corpus = Corpus::of([vec![7; LONGEST], b"x".to_vec()]);
        let (whole, longest) = (Cell::new(0), Cell::new(0));
        corpus.run(|input| {
            whole.set(whole.get() + usize::from(input == b"x"));
            longest.set(longest.get().max(input.len()));
        });
        assert!(whole.get() > 0);
        assert_eq!(longest.get(), LONGEST);
    }

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        let corpus = Corpus::of([b"one".to_vec(), b"another".to_vec()]);
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| corpus.mutant(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }
}
