//! The journal of our mappings: what was asked of which gateway, written before it is asked.
//!
//! A gateway keeps our description or replaces it by its own, so that what it shows does not say whose a mapping is.
//! The journal does, and holds the nonce without which PCP renews and ends nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use config::FileError;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{Dialect, Nonce, Request};
use crate::exposure::PublicPort;

/// The journal's name in the directory for state.
pub const FILE_NAME: &str = "mappings.json";

/// A mapping of ours, or one that may be there because it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The gateway's address inside.
    pub gateway: Ipv4Addr,
    /// The port outside.
    pub port: PublicPort,
    /// The port of this host.
    pub to: NonZeroU16,
    /// The address of this host.
    pub local: Ipv4Addr,
    /// What it was asked in.
    pub dialect: Dialect,
    /// What PCP knows it by.
    pub nonce: Nonce,
    /// What IGD shows it as.
    pub description: String,
    /// What was granted, in seconds; 0 is for ever. Nothing where no grant was seen.
    pub lease: Option<u32>,
    /// When it was granted or asked for, in seconds since 1970.
    pub since: u64,
}

impl Entry {
    /// The request that made it.
    pub fn request(&self, lease: u32) -> Request {
        let description = self.description.clone();
        Request { port: self.port, to: self.to, local: self.local, nonce: self.nonce, description, lease }
    }

    /// Whether its lease has surely run out.
    pub fn has_ended(&self, now: u64) -> bool {
        /// The longest lease that gateways grant, and the fate of one that has none on a gateway that is gone.
        const LONGEST: u64 = 30 * 86_400;
        let lease = self.lease.filter(|lease| *lease != 0).map_or(LONGEST, u64::from);
        now > self.since.saturating_add(lease)
    }
}

impl Serialize for Nonce {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = HEXLOWER.decode(String::deserialize(deserializer)?.as_bytes()).ok();
        let nonce = bytes.and_then(|bytes| bytes.try_into().ok());
        nonce.map(Self).ok_or_else(|| serde::de::Error::custom("expected 24 hex digits"))
    }
}

/// The journal. Every change is on the disk before the call returns.
#[derive(Debug, Default)]
pub struct Journal {
    path: Option<PathBuf>,
    entries: BTreeMap<(Ipv4Addr, PublicPort), Entry>,
}

impl Journal {
    /// Opens the journal in a directory, or begins one.
    pub fn open(directory: &Path) -> Result<Self, config::ConfigError> {
        let path = directory.join(FILE_NAME);
        let entries: Vec<Entry> = match config::file::read(&path) {
            Ok(text) => config::parse(&text, &path)?,
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let entries = entries.into_iter().map(|entry| ((entry.gateway, entry.port), entry)).collect();
        Ok(Self { path: Some(path), entries })
    }

    /// A journal that is kept nowhere.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The entry of a port.
    pub fn get(&self, gateway: Ipv4Addr, port: PublicPort) -> Option<&Entry> {
        self.entries.get(&(gateway, port))
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Writes an entry, in the place of the one that there may be.
    pub fn put(&mut self, entry: Entry) -> Result<(), FileError> {
        let key = (entry.gateway, entry.port);
        if self.entries.get(&key) == Some(&entry) {
            return Ok(());
        }
        self.entries.insert(key, entry);
        self.write()
    }

    /// Strikes an entry out.
    pub fn strike(&mut self, gateway: Ipv4Addr, port: PublicPort) -> Result<(), FileError> {
        match self.entries.remove(&(gateway, port)) {
            Some(_) => self.write(),
            None => Ok(()),
        }
    }

    fn write(&self) -> Result<(), FileError> {
        let Some(path) = &self.path else { return Ok(()) };
        let entries: Vec<_> = self.entries.values().collect();
        let json = serde_json::to_vec_pretty(&entries).expect("invariant: entries are plain data");
        config::file::write_private(path, &json)
    }
}
