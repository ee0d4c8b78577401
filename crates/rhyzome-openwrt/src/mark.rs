//! The mark of a network on its router: a section of our own type, which no program of OpenWrt reads, so that a new
//! version alone disturbs nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use types::{NetworkId, Sha256Digest, Slot, Version};
use uci::{Config, Package, Section};

use crate::names::Names;

/// The type of the section.
pub const TYPE: &str = "rhyzome";
/// The section's part of the name.
pub const PART: &str = "network";
/// The option that holds the network's id.
pub const ID: &str = "rz_id";
/// The option that holds the version of the desired state, as `epoch:revision`.
pub const VERSION: &str = "rz_version";
/// The option that holds the digest of the network's other sections.
pub const DIGEST: &str = "rz_digest";

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The network.
    pub id: NetworkId,
    /// Its slot, from the section's name.
    pub slot: Slot,
    /// The desired state it was brought to last.
    pub version: Version,
    /// What its sections were like then.
    pub digest: String,
}

impl Mark {
    /// Reads a mark; nothing where the section is none.
    fn read(section: &Section) -> Option<Self> {
        let slot = Names::owner(section.name().as_str())?;
        let is_mark = section.kind().as_str() == TYPE && section.name().as_str() == Names::of(slot).section(PART);
        if !is_mark {
            return None;
        }
        Some(Self {
            id: section.text(ID)?.parse().ok()?,
            slot,
            version: section.text(VERSION)?.parse().ok()?,
            digest: section.text(DIGEST)?.to_owned(),
        })
    }

    /// All marks in the package `network`.
    pub fn all(network: &Package) -> Vec<Self> {
        network.of_kind(TYPE).filter_map(Self::read).collect()
    }
}

/// The digest of all sections of the network in `slot` but its mark. The order of sections and options does not count:
/// rpcd may give back another.
pub fn digest(config: &Config, slot: Slot) -> String {
    let mut lines = BTreeMap::new();
    for package in config.packages() {
        for section in package.sections().filter(|section| is_content(section, slot)) {
            let mut text = format!("{}\n", section.kind());
            let options: BTreeMap<_, _> = section.options().collect();
            for (option, value) in options {
                // What UCI holds cannot hold a NUL, so that no two values look alike.
                let _ = writeln!(text, "{option}\0{}", value.items().join("\0"));
            }
            lines.insert((package.name().as_str(), section.name().as_str()), text);
        }
    }
    let whole: String = lines.iter().map(|((package, section), text)| format!("{package}.{section}={text}")).collect();
    Sha256Digest::from_bytes(Sha256::digest(whole).into()).to_string()
}

fn is_content(section: &Section, slot: Slot) -> bool {
    Names::owner(section.name().as_str()) == Some(slot) && section.kind().as_str() != TYPE
}
