//! Values as people write them on a command line: sizes, times, ranges, tags, keys.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use types::{ByteSize, HostRange, MemorySize, ParseError, SshPublicKey, TagKey, TagValue};

/// Binary units: K, M, G and T, with or without `iB` behind them.
const UNITS: [(&str, u64); 4] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

/// Something, or `auto`: what the server chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<T> {
    /// The server chooses.
    Auto,
    /// It is this.
    Is(T),
}

impl<T> Choice<T> {
    /// What was chosen, if the server does not choose.
    pub fn chosen(self) -> Option<T> {
        match self {
            Self::Auto => None,
            Self::Is(value) => Some(value),
        }
    }
}

impl<T: FromStr> FromStr for Choice<T> {
    type Err = T::Err;
    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            text => text.parse().map(Self::Is),
        }
    }
}

/// A range of addresses as `10.77.0.10-10.77.0.100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange(pub HostRange);

impl FromStr for AddressRange {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a range of addresses such as 10.77.0.10-10.77.0.100");
        let (start, end) = text.split_once('-').ok_or_else(refuse)?;
        let (start, end) = (start.trim().parse().map_err(|_| refuse())?, end.trim().parse().map_err(|_| refuse())?);
        match start <= end {
            true => Ok(Self(HostRange { start, end })),
            false => Err(refuse()),
        }
    }
}

/// A tag as `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Before the first `=`.
    pub key: TagKey,
    /// After it.
    pub value: TagValue,
}

impl FromStr for Tag {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (key, value) = text.split_once('=').ok_or_else(|| ParseError::new(text, "a tag such as team=garden"))?;
        Ok(Self { key: key.parse()?, value: value.parse()? })
    }
}

/// Reads a memory size as `256M` or `1G`.
pub fn memory(text: &str) -> Result<MemorySize, ParseError> {
    let refuse = || ParseError::new(text, "a memory size such as 256M or 1G (32M to 4T, whole MiB)");
    let bytes = bytes(text).ok_or_else(refuse)?;
    let mib = i64::try_from(bytes >> 20).map_err(|_| refuse())?;
    match bytes % (1 << 20) {
        0 => MemorySize::try_from(mib).map_err(|_| refuse()),
        _ => Err(refuse()),
    }
}

/// Reads a disk's size as `4G`.
pub fn disk(text: &str) -> Result<ByteSize, ParseError> {
    let refuse = || ParseError::new(text, "a disk's size such as 512M or 4G");
    let bytes = bytes(text).and_then(|bytes| i64::try_from(bytes).ok()).ok_or_else(refuse)?;
    ByteSize::try_from(bytes).map_err(|_| refuse())
}

/// Reads a time as `30s`, `10m`, `12h` or `7d`.
pub fn duration(text: &str) -> Result<Duration, ParseError> {
    let refuse = || ParseError::new(text, "a time such as 30s, 10m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(refuse)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(refuse()),
    };
    let count = whole(&text[..text.len() - 1]).ok_or_else(refuse)?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refuse)
}

/// Reads a lease time in the same form; the server says which it takes.
pub fn lease_seconds(text: &str) -> Result<u32, ParseError> {
    let seconds = duration(text)?.as_secs();
    u32::try_from(seconds).map_err(|_| ParseError::new(text, "a lease time such as 12h (2m to 7d)"))
}

/// Reads an SSH public key: the text of one, or a file with one on each line.
pub fn ssh_keys(text: &str) -> anyhow::Result<Vec<SshPublicKey>> {
    if let Ok(key) = text.parse() {
        return Ok(vec![key]);
    }
    let path = Path::new(text);
    if !path.exists() {
        return Err(anyhow!("--ssh-key: {text:?} is neither an SSH public key nor a file"));
    }
    let content = fs::read_to_string(path).with_context(|| format!("--ssh-key: cannot read {text}"))?;
    let mut keys = Vec::new();
    for (number, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.contains("PRIVATE KEY") {
            bail!("--ssh-key: {text} holds a private key; give the public one ({text}.pub)");
        }
        keys.push(line.parse().with_context(|| format!("--ssh-key: {text}:{}", number + 1))?);
    }
    match keys.is_empty() {
        true => bail!("--ssh-key: {text} holds no key"),
        false => Ok(keys),
    }
}

/// Bytes as people read them: the largest binary unit that leaves a number of at most one decimal.
pub fn show_bytes(bytes: u64) -> String {
    let fitting = UNITS.iter().rev().find(|(_, size)| bytes >= *size);
    match fitting {
        None => format!("{bytes}B"),
        Some((unit, size)) if bytes.is_multiple_of(*size) => format!("{}{unit}", bytes / size),
        Some((unit, size)) => format!("{:.1}{unit}", bytes as f64 / *size as f64),
    }
}

/// Seconds as people read them: in the largest unit that divides them.
pub fn show_seconds(seconds: u64) -> String {
    [(86_400, 'd'), (3_600, 'h'), (60, 'm')]
        .into_iter()
        .find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size))
        .map_or_else(|| format!("{seconds}s"), |(size, unit)| format!("{}{unit}", seconds / size))
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix("iB").or_else(|| text.strip_suffix('i')).unwrap_or(text);
    let (unit, size) = UNITS.into_iter().find(|(unit, _)| text.to_ascii_uppercase().ends_with(unit))?;
    whole(&text[..text.len() - unit.len()])?.checked_mul(size)
}

/// Digits only: no sign, no blanks.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(memory("256M").unwrap().get(), 256);
        assert_eq!(memory("1G").unwrap().get(), 1024);
        assert_eq!(memory("2GiB").unwrap().get(), 2048);
        assert_eq!(memory("65536k").unwrap().get(), 64);
        assert_eq!(disk("4G").unwrap().get(), 4 << 30);
        for bad in ["", "M", "256", "-1M", "1.5G", "100K", "16M", "99999999999999999999G", "1 G", "5P", "é"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(lease_seconds("12h").unwrap(), 43_200);
        for bad in ["", "s", "12", "+1s", "1w", "5µ", "99999999999999999999d", "213504000000000d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_do_not_run_backwards() {
        let range: AddressRange = "10.0.0.10-10.0.0.20".parse().unwrap();
        assert_eq!(range.0.start.to_string(), "10.0.0.10");
        for bad in ["10.0.0.10", "10.0.0.20-10.0.0.10", "a-b", "10.0.0.1-", "-10.0.0.1"] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
        }
        assert_eq!("auto".parse::<Choice<AddressRange>>().unwrap(), Choice::Auto);
    }

    #[test]
    fn tags_have_a_key_and_a_value() {
        let tag: Tag = "team=a=b".parse().unwrap();
        assert_eq!((tag.key.as_str(), tag.value.as_str()), ("team", "a=b"));
        assert!("team".parse::<Tag>().is_err());
        assert!("Team=x".parse::<Tag>().is_err());
    }

    #[test]
    fn a_private_key_is_not_taken_for_a_public_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").unwrap();
        let error = ssh_keys(file.path().to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("private key") && !error.contains("AAAA"), "{error}");
    }

    #[test]
    fn what_is_shown_is_short() {
        assert_eq!([0, 512, 1 << 20, 3 << 29].map(show_bytes), ["0B", "512B", "1M", "1.5G"]);
        assert_eq!([0, 90, 120, 43_200].map(show_seconds), ["0s", "90s", "2m", "12h"]);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parsers(text in "\\PC*") {
            let _ = (memory(&text).is_ok(), disk(&text).is_ok(), duration(&text).is_ok());
            let _ = (text.parse::<Tag>().is_ok(), text.parse::<AddressRange>().is_ok());
        }

        #[test]
        fn memory_reads_what_it_means(mib in 32_i64..=4_194_304) {
            prop_assert_eq!(i64::from(memory(&format!("{mib}M")).unwrap()), mib);
        }
    }
}
