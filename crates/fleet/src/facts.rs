//! What a device's hardware is like, as far as configuration depends on it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use types::{MacAddr, ParseError};
use uci::{Config, Section, SectionName};

/// What is known of a device's hardware. Where the configuration itself tells of radios, that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The board, as `board_name` has it.
    pub board: String,
    /// The address that names the device, mostly of its first port.
    pub mac: Option<MacAddr>,
    /// The radios.
    pub radios: Vec<Radio>,
    /// The devices of its ports by what `board.json` says that they are for: `lan`, `wan`.
    pub ports: BTreeMap<String, Vec<String>>,
}

/// A radio.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Radio {
    /// Its section in package `wireless`.
    pub section: SectionName,
    /// Its band.
    pub band: Band,
}

/// A band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Band {
    /// 2.4 GHz.
    Ghz2,
    /// 5 GHz.
    Ghz5,
    /// 6 GHz.
    Ghz6,
    /// 60 GHz.
    Ghz60,
}

impl FromStr for Band {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "2g" => Ok(Self::Ghz2),
            "5g" => Ok(Self::Ghz5),
            "6g" => Ok(Self::Ghz6),
            "60g" => Ok(Self::Ghz60),
            _ => Err(ParseError::new(text, "a band (2g, 5g, 6g or 60g)")),
        }
    }
}

impl fmt::Display for Band {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ghz2 => "2g",
            Self::Ghz5 => "5g",
            Self::Ghz6 => "6g",
            Self::Ghz60 => "60g",
        })
    }
}

impl Facts {
    /// The radios: those that package `wireless` tells, else those that are known otherwise.
    #[must_use]
    pub fn radios(&self, current: &Config) -> Vec<Radio> {
        let told = current.get("wireless").into_iter().flat_map(|wireless| wireless.of_kind("wifi-device"));
        let told: Vec<Radio> =
            told.filter_map(|section| Some(Radio { section: section.name().clone(), band: band(section)? })).collect();
        if told.is_empty() { self.radios.clone() } else { told }
    }
}

/// The band of a `wifi-device`: option `band`, before OpenWrt 21.02 option `hwmode`, and failing both the channel.
fn band(section: &Section) -> Option<Band> {
    if let Some(band) = section.text("band") {
        return band.parse().ok();
    }
    match section.text("hwmode") {
        Some("11b" | "11g" | "11ng") => return Some(Band::Ghz2),
        Some("11a" | "11na" | "11ac") => return Some(Band::Ghz5),
        Some("11ad") => return Some(Band::Ghz60),
        _ => {}
    }
    let channel: u32 = section.text("channel")?.parse().ok()?;
    Some(if channel <= 14 { Band::Ghz2 } else { Band::Ghz5 })
}
