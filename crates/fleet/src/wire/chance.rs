//! Randomness for tests: a seed gives the same again.

use crate::Random;

/// Numbers that a seed gives.
pub struct Chance(fuzz::Random);

impl Chance {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(fuzz::Random::new(seed))
    }
}

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.byte());
    }
}
