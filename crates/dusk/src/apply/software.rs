//! Software that should be there, or should not: looked at and told, not brought about.

use std::collections::{BTreeMap, BTreeSet};

use fleet::SectionPath;
use fleet::apply::Outcome;
use fleet::effective::Effective;

use super::Applier;

/// What opkg has installed, and what apk has.
const LISTS: [(&str, &str); 2] = [("/usr/lib/opkg/status", "Package: "), ("/lib/apk/db/installed", "P:")];

impl Applier {
    /// The sections that want other software than there is.
    pub(super) fn lacking_software(&self, effective: &Effective) -> BTreeMap<SectionPath, Outcome> {
        if effective.packages.is_empty() {
            return BTreeMap::new();
        }
        let installed = self.installed();
        let mut lacking: BTreeMap<SectionPath, Vec<String>> = BTreeMap::new();
        for (name, sourced) in &effective.packages {
            let told = match (sourced.wanted.is_wanted, installed.contains(name)) {
                (true, false) => format!("{name} is not installed"),
                (false, true) => format!("{name} is installed"),
                _ => continue,
            };
            lacking.entry(sourced.origin.section.clone()).or_default().push(told);
        }
        lacking.into_iter().map(|(section, told)| (section, Outcome::Rejected(told.join(", ")))).collect()
    }

    fn installed(&self) -> BTreeSet<String> {
        let mut installed = BTreeSet::new();
        for (path, prefix) in LISTS {
            let Ok(Some(bytes)) = self.flash.read(path) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            installed
                .extend(text.lines().filter_map(|line| line.strip_prefix(prefix)).map(|name| name.trim().to_owned()));
        }
        installed
    }
}
