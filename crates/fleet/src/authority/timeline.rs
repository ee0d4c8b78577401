//! A value and what it was, by position in the authority chain.

/// Values with the position from which each holds; positions rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline<T>(Vec<(u64, T)>);

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Timeline<T> {
    /// Holds from `position` on.
    pub fn set(&mut self, position: u64, value: T) {
        // Most of them hold one value for good, and there are thousands.
        self.0.reserve_exact(1);
        self.0.push((position, value));
    }

    /// What held right after the entry at `position`.
    pub fn at(&self, position: u64) -> Option<&T> {
        let after = self.0.partition_point(|(from, _)| *from <= position);
        self.0[..after].last().map(|(_, value)| value)
    }

    /// What holds.
    pub fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// From which position on it holds.
    pub fn since(&self) -> Option<u64> {
        self.0.last().map(|(from, _)| *from)
    }
}
