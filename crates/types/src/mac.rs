//! MAC addresses.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A unicast Ethernet address (EUI-48), written in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

const EXPECTED: &str = "a unicast MAC address such as 52:54:00:12:34:56";

impl MacAddr {
    /// A locally administered address under QEMU's prefix 52:54:00 with the given last three bytes.
    pub const fn of_guest(low: [u8; 3]) -> Self {
        Self([0x52, 0x54, 0x00, low[0], low[1], low[2]])
    }

    /// The six bytes, first on the wire first.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for MacAddr {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, EXPECTED);
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(refuse)?;
            *byte = data_encoding::HEXLOWER_PERMISSIVE.decode(part.as_bytes()).map_err(|_| refuse())?[0];
        }
        let multicast = bytes[0] & 1 == 1;
        match parts.next().is_some() || multicast || bytes == [0; 6] {
            true => Err(refuse()),
            false => Ok(Self(bytes)),
        }
    }
}

text_type!(MacAddr, "52:54:00:12:34:56", "A unicast MAC address in lower case with colons.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_either_case_and_writes_lower() {
        assert_eq!("52:54:00:AB:cd:EF".parse::<MacAddr>().unwrap().to_string(), "52:54:00:ab:cd:ef");
    }

    #[test]
    fn multicast_zero_and_broken_are_refused() {
        for bad in
            ["01:00:5e:00:00:01", "00:00:00:00:00:00", "52:54:00:12:34", "52:54:00:12:34:56:78", "52-54-00-12-34-56"]
        {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }
}
