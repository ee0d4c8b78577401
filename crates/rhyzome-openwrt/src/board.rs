//! Which router this is. Its release decides whether we can work it: networks need fw4, which came with 22.03.

use std::fmt;

use serde::Deserialize;

/// The first release whose firewall is fw4.
pub const OLDEST: Release = Release { year: 22, month: 3 };

/// The answer of `system board`, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Board {
    /// The name it gives itself.
    #[serde(default)]
    pub hostname: String,
    /// The device, for people.
    #[serde(default)]
    pub model: String,
    /// The processor, for people.
    #[serde(default)]
    pub system: String,
    /// What runs on it.
    pub release: ReleaseInfo,
}

/// What runs on a router, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReleaseInfo {
    /// `OpenWrt`, or what was made of it.
    pub distribution: String,
    /// `24.10.1`, `22.03-SNAPSHOT` or `SNAPSHOT`.
    pub version: String,
}

/// A release, as in 22.03. Those of the same number share their interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    year: u16,
    month: u16,
}

impl Release {
    /// Reads the first two numbers of a version. A build of the development branch, `SNAPSHOT`, has none.
    pub fn parse(version: &str) -> Option<Self> {
        let mut numbers = version.split(['.', '-']);
        let (year, month) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        Some(Self { year, month })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:02}.{:02}", self.year, self.month)
    }
}

/// A router that we do not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the router runs {distribution} {version}, which is too old: its firewall is fw3, and networks need fw4; expected \
     {OLDEST} or later"
)]
pub struct TooOld {
    distribution: String,
    version: String,
}

impl Board {
    /// Refuses a release without fw4.
    pub fn check(&self) -> Result<(), TooOld> {
        let ReleaseInfo { distribution, version } = &self.release;
        match Release::parse(version) {
            Some(release) if release < OLDEST => {
                Err(TooOld { distribution: distribution.clone(), version: version.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for Board {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReleaseInfo { distribution, version } = &self.release;
        write!(out, "{distribution} {version} on {} ({})", self.model, self.system)
    }
}

/// The answer of `system info`, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Seconds since 1970 by the router's clock.
    #[serde(default)]
    pub localtime: i64,
    /// Its memory in bytes.
    #[serde(default)]
    pub memory: Memory,
    /// Its flash in kilobytes.
    #[serde(default)]
    pub root: Space,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Memory {
    /// All of it.
    #[serde(default)]
    pub total: u64,
    /// What programs can have.
    #[serde(default)]
    pub available: u64,
}

/// The space of a file system in kilobytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Space {
    /// All of it.
    #[serde(default)]
    pub total: u64,
    /// What is free.
    #[serde(default)]
    pub free: u64,
}

impl fmt::Display for Info {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, root, .. } = self;
        write!(out, "{} MiB of memory, {} MiB of flash free", memory.total >> 20, root.free >> 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(version: &str) -> Board {
        let release = ReleaseInfo { distribution: "OpenWrt".to_owned(), version: version.to_owned() };
        Board { hostname: "r".to_owned(), model: "m".to_owned(), system: "s".to_owned(), release }
    }

    #[test]
    fn releases_with_fw3_are_refused_by_name() {
        for version in ["19.07.10", "21.02.7", "21.02-SNAPSHOT", "18.06"] {
            let error = board(version).check().unwrap_err().to_string();
            assert!(error.contains(version) && error.contains("expected 22.03 or later"), "{error}");
        }
        for version in ["22.03.0", "23.05.5", "24.10.1", "24.10-SNAPSHOT", "24.10", "25.12.0-rc1", "SNAPSHOT"] {
            assert_eq!(board(version).check(), Ok(()), "{version}");
        }
    }
}
