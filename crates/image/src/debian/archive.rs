//! Where Debian's packages come from: where the building machine's own apt gets them, unless a mirror is named.

use std::process::Command;
use std::str::FromStr;

use anyhow::bail;

use crate::program::run;

/// The URL of a copy of Debian's archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(String);

impl FromStr for Mirror {
    type Err = String;

    /// Takes what apt takes, and nothing that could be more than one word of sources.list(5).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = ["https://", "http://", "file:/"].iter().any(|scheme| text.starts_with(scheme));
        let odd = text.chars().any(|c| c.is_whitespace() || c.is_control() || "[]#\"'".contains(c));
        match known && !odd {
            true => Ok(Self(text.trim_end_matches('/').to_owned())),
            false => Err("expected the URL of a Debian archive (https://, http:// or file:/)".to_owned()),
        }
    }
}

impl Mirror {
    /// The URL, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.0
    }
}

/// The archive and its companion with security updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Debian's packages.
    pub main: Mirror,
    /// Security updates, where they are known to be.
    pub security: Option<Mirror>,
}

impl Archive {
    /// The mirror that was named; security updates from beside it, where mirrors keep them.
    pub fn of_mirror(main: Mirror) -> Self {
        let beside = main.0.strip_suffix("/debian").map(|base| Mirror(format!("{base}/debian-security")));
        Self { main, security: beside }
    }

    /// What the machine's apt is configured to use and has fetched lists from.
    pub fn of_machine() -> anyhow::Result<Self> {
        let format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
        let targets = run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
        match Self::among(&targets) {
            Some(archive) => Ok(archive),
            None => bail!(
                "apt on this machine knows no Debian archive: run `apt-get update`, or name one with --mirror URL"
            ),
        }
    }

    /// The archives among apt's index targets, each a line of origin, label and URL.
    fn among(targets: &str) -> Option<Self> {
        let mirror = |wanted: &str| {
            targets.lines().find_map(|line| {
                let (label, url) = line.strip_prefix("Debian|")?.split_once('|')?;
                url.parse::<Mirror>().ok().filter(|_| label == wanted)
            })
        };
        Some(Self { main: mirror("Debian")?, security: mirror("Debian-Security") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(url: &str) -> Mirror {
        url.parse().unwrap()
    }

    #[test]
    fn the_archives_are_found_among_those_of_others() {
        let targets = "Other|Debian|https://other.example/debian/\n\
            Debian|Debian Backports|https://a.example/backports/\n\
            Debian|Debian|https://a.example/debian/\n\
            Debian|Debian|https://b.example/debian/\n\
            Debian|Debian-Security|https://a.example/security/\n";
        let archive = Archive::among(targets).unwrap();
        assert_eq!(archive.main, mirror("https://a.example/debian"));
        assert_eq!(archive.security, Some(mirror("https://a.example/security")));
        assert_eq!(Archive::among("Ubuntu|Ubuntu|https://a.example/ubuntu/\n||https://b.example/\n"), None);
    }

    #[test]
    fn security_updates_lie_beside_a_mirror() {
        let archive = Archive::of_mirror(mirror("http://a.example/debian/"));
        assert_eq!(archive.security, Some(mirror("http://a.example/debian-security")));
        assert_eq!(Archive::of_mirror(mirror("file:/srv/packages")).security, None);
    }

    #[test]
    fn a_mirror_is_one_word() {
        for bad in ["", "a.example", "ftp://a.example/", "https://a.example/ b main", "https://a.example/\n", "[x]"] {
            assert!(bad.parse::<Mirror>().is_err(), "{bad:?}");
        }
    }
}
