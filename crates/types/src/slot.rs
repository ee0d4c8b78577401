//! Slots on a router and segments on hypervisors, and the device names that follow from them.

use std::fmt;

use crate::ParseError;

/// A network's numbered place on its router, 1 to 0x3fff. Every OpenWrt name of the network derives from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

impl Slot {
    /// The highest slot.
    pub const MAX: u16 = 0x3fff;

    /// The slot's number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

impl TryFrom<u16> for Slot {
    type Error = ParseError;
    fn try_from(number: u16) -> Result<Self, ParseError> {
        match (1..=Self::MAX).contains(&number) {
            true => Ok(Self(number)),
            false => Err(ParseError::new(&number.to_string(), "a slot (1 to 16383)")),
        }
    }
}

/// `rz2f`: the stem of the network's OpenWrt names, six characters at most.
impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rz{:x}", self.0)
    }
}

/// A network's layer-2 segment, unique in the installation, 1 to 0xffffff (a VNI). It names the bridge on hypervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Segment(u32);

impl Segment {
    /// The highest segment: 24 bits, as in a VXLAN header (RFC 7348).
    pub const MAX: u32 = 0xff_ffff;

    /// The segment's number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The bridge on a hypervisor: `rzb` and the number in hex.
    pub fn bridge(self) -> String {
        format!("rzb{:x}", self.0)
    }

    /// The port of that bridge through which other hosts are reached: `rzx` and the number in hex.
    pub fn overlay(self) -> String {
        format!("rzx{:x}", self.0)
    }

    /// The hypervisor's end of the link to an embedded router: `rzh` and the number in hex.
    pub fn host_end(self) -> String {
        format!("rzh{:x}", self.0)
    }

    /// The embedded router's end of that link, a port of the network's bridge there: `rzs` and the number in hex.
    pub fn router_end(self) -> String {
        format!("rzs{:x}", self.0)
    }
}

impl From<Segment> for u32 {
    fn from(segment: Segment) -> Self {
        segment.0
    }
}

impl TryFrom<u32> for Segment {
    type Error = ParseError;
    fn try_from(number: u32) -> Result<Self, ParseError> {
        match (1..=Self::MAX).contains(&number) {
            true => Ok(Self(number)),
            false => Err(ParseError::new(&number.to_string(), "a segment (1 to 16777215)")),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_what_linux_allows() {
        let segment = Segment::try_from(Segment::MAX).unwrap();
        for name in [segment.bridge(), segment.overlay(), segment.host_end(), segment.router_end()] {
            assert!(name.len() <= 15, "{name}");
        }
        assert_eq!(Slot::try_from(0x2f).unwrap().to_string(), "rz2f");
        assert!(Slot::try_from(0).is_err());
    }
}
