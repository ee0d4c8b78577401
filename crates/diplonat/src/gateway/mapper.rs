//! Brings the mappings on a gateway from any state to the wanted one, and renews them in place.
//!
//! The time comes in as an argument, and the gateway behind a trait; what is done follows from the journal and from what
//! the gateway answers. A mapping that is as it should be costs no call before half of its lease has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use config::FileError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::journal::{Entry, Journal};
use super::{Dialect, Found, Gateway, Nonce, Refusal};
use crate::exposure::PublicPort;

/// How often a mapping without an end is looked at, in seconds.
const LOOK_AT_PERMANENT: u64 = 3600;
/// Waits between tries that fail: doubled from the first to the last, in seconds.
const FIRST_WAIT: u64 = 5;
const LONGEST_WAIT: u64 = 300;
/// Ports that are dealt with in one round, so that what has been done is told, and what is new is heard.
const BATCH: usize = 16;
/// What descriptions begin with.
const OURS: &str = "rz";

/// How it stands with a port on the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum MappingState {
    /// It is mapped.
    Mapped {
        /// In what it was asked.
        dialect: Dialect,
        /// The lease that was granted, in seconds; 0 is for ever.
        lease: u32,
    },
    /// It is not.
    Failed {
        /// Why.
        cause: String,
    },
}

/// What is to be mapped: the port outside, and that of this host.
pub type Wishes = BTreeMap<PublicPort, NonZeroU16>;

/// The mappings of one node.
pub struct Mapper {
    node: String,
    lease: u32,
    journal: Journal,
    states: BTreeMap<PublicPort, MappingState>,
    tries: BTreeMap<PublicPort, Tries>,
    /// Entries whose fate is unclear since the gateway was started again.
    unsure: BTreeSet<PublicPort>,
    nonces: Box<dyn FnMut() -> Nonce + Send>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    failed: u32,
    next: u64,
}

/// What has to be done about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Mapping,
    Renewal,
}

impl Mapper {
    /// The mapper of a node, which asks for leases of so many seconds.
    pub fn new(node: &str, lease: u32, journal: Journal, nonces: impl FnMut() -> Nonce + Send + 'static) -> Self {
        let node = node.chars().filter(char::is_ascii_graphic).take(40).collect();
        let (states, tries, unsure) = Default::default();
        Self { node, lease, journal, states, tries, unsure, nonces: Box::new(nonces) }
    }

    /// How it stands with every port that is wanted or ours.
    pub fn states(&self) -> &BTreeMap<PublicPort, MappingState> {
        &self.states
    }

    /// The ports that may be mapped on any gateway, wanted or not.
    pub fn held(&self) -> BTreeSet<PublicPort> {
        self.journal.entries().map(|entry| entry.port).collect()
    }

    /// What was mapped on one gateway, as it was asked for.
    pub fn entries_of(&self, gateway: Ipv4Addr) -> Wishes {
        let entries = self.journal.entries().filter(|entry| entry.gateway == gateway);
        entries.map(|entry| (entry.port, entry.to)).collect()
    }

    /// The gateway may have lost what it had: everything is asserted again, at once.
    pub fn assert_all(&mut self) {
        self.unsure = self.held();
        self.tries.clear();
    }

    /// Whether a mapping that was found is ours.
    pub fn knows(&self, gateway: &dyn Gateway, port: PublicPort, found: &Found) -> bool {
        self.is_ours(gateway, found, self.journal.get(gateway.address(), port))
    }

    /// When there is next something to do, in seconds since 1970.
    pub fn next(&self, gateway: &dyn Gateway, wanted: &Wishes, kept: &BTreeSet<PublicPort>, now: u64) -> Option<u64> {
        let leaving = self.journal.entries().map(|entry| entry.port);
        let leaving = leaving.filter(|port| !wanted.contains_key(port) && !kept.contains(port));
        let ports: BTreeSet<_> = wanted.keys().copied().chain(leaving).collect();
        ports.into_iter().map(|port| self.due_at(gateway, port, wanted, now)).min()
    }

    fn due_at(&self, gateway: &dyn Gateway, port: PublicPort, wanted: &Wishes, now: u64) -> u64 {
        let retry = self.tries.get(&port).map_or(0, |tries| tries.next);
        let entry = self.journal.get(gateway.address(), port);
        match (wanted.get(&port), entry) {
            (Some(to), Some(entry)) if self.is_as_wanted(gateway, entry, *to) && self.is_sure(port) => {
                renewal(entry).max(retry)
            }
            (None, None) => now + LONGEST_WAIT,
            _ => retry,
        }
    }

    /// Does what is due, as much as a round takes: first ends what is not wanted (but for what is `kept`), then maps what is.
    pub async fn round(&mut self, gateway: &dyn Gateway, wanted: &Wishes, kept: &BTreeSet<PublicPort>, now: u64) {
        self.states.retain(|port, _| wanted.contains_key(port));
        self.tries.retain(|port, tries| wanted.contains_key(port) || tries.next > now);
        let unwanted = |entry: &&Entry| !wanted.contains_key(&entry.port) && !kept.contains(&entry.port);
        let entries: Vec<_> = self.journal.entries().filter(unwanted).cloned().collect();
        let mut left = BATCH;
        for entry in entries {
            if self.is_patient(entry.port, now) {
                continue;
            }
            let Some(rest) = left.checked_sub(1) else { return };
            left = rest;
            match self.end(gateway, &entry, now).await {
                Ok(()) => drop(self.tries.remove(&entry.port)),
                Err(cause) => self.failed(entry.port, cause, now),
            }
        }
        for (port, to) in wanted {
            let due = self.due(gateway, *port, *to, now);
            if due == Due::Nothing {
                continue;
            }
            let Some(rest) = left.checked_sub(1) else { return };
            left = rest;
            let outcome = match due {
                Due::Renewal => self.renew(gateway, *port, *to, now).await,
                _ => self.establish(gateway, *port, *to, now).await,
            };
            match outcome {
                Ok(state) => {
                    self.tries.remove(port);
                    self.unsure.remove(port);
                    self.states.insert(*port, state);
                }
                Err(cause) => self.failed(*port, cause, now),
            }
        }
    }

    fn failed(&mut self, port: PublicPort, cause: String, now: u64) {
        let tries = self.tries.entry(port).or_default();
        tries.next = now + (FIRST_WAIT << tries.failed.min(6)).min(LONGEST_WAIT);
        tries.failed = tries.failed.saturating_add(1);
        let state = MappingState::Failed { cause };
        if self.states.get(&port) != Some(&state)
            && let MappingState::Failed { cause } = &state
        {
            tracing::warn!(%port, cause, "not mapped");
        }
        self.states.insert(port, state);
    }

    fn is_patient(&self, port: PublicPort, now: u64) -> bool {
        self.tries.get(&port).is_some_and(|tries| now < tries.next)
    }

    fn due(&self, gateway: &dyn Gateway, port: PublicPort, to: NonZeroU16, now: u64) -> Due {
        if self.is_patient(port, now) {
            return Due::Nothing;
        }
        let Some(entry) = self.journal.get(gateway.address(), port) else { return Due::Mapping };
        if !self.is_as_wanted(gateway, entry, to) {
            return Due::Mapping;
        }
        match now >= renewal(entry) || !self.is_sure(port) {
            true => Due::Renewal,
            false => Due::Nothing,
        }
    }

    /// Whether a mapping was seen since the start, and since the gateway's.
    fn is_sure(&self, port: PublicPort) -> bool {
        !self.unsure.contains(&port) && self.states.contains_key(&port)
    }

    fn is_as_wanted(&self, gateway: &dyn Gateway, entry: &Entry, to: NonZeroU16) -> bool {
        entry.lease.is_some() && entry.to == to && entry.local == gateway.local()
    }

    /// Makes a mapping where there is none of ours, or another.
    async fn establish(
        &mut self,
        gateway: &dyn Gateway,
        port: PublicPort,
        to: NonZeroU16,
        now: u64,
    ) -> Result<MappingState, String> {
        let held = self.journal.get(gateway.address(), port).cloned();
        if let Some(held) =
            held.filter(|held| held.local != gateway.local() || held.dialect != Dialect::Igd && held.to != to)
        {
            // These are known by the address and the port inside, so that what leads elsewhere is another mapping.
            self.end(gateway, &held, now).await?;
        }
        let held = self.journal.get(gateway.address(), port).cloned();
        match gateway.look(port).await {
            Ok(Some(found)) if !self.is_ours(gateway, &found, held.as_ref()) => return Err(taken(&found)),
            Ok(_) | Err(Refusal::Unsupported(_)) => {}
            Err(refusal) => return Err(refusal.to_string()),
        }
        // One that was asked for before, and may be there, is asked for in the same words.
        let dialects = match &held {
            Some(held) => vec![held.dialect],
            None => gateway.dialects(),
        };
        let nonce = held.map_or_else(&mut self.nonces, |held| held.nonce);
        let mut refused = None;
        for dialect in dialects {
            let entry = Entry {
                gateway: gateway.address(),
                port,
                to,
                local: gateway.local(),
                dialect,
                nonce,
                description: self.description(port, to),
                lease: None,
                since: now,
            };
            match self.ask(gateway, entry, now).await {
                Ok(state) => {
                    tracing::info!(%port, %to, %dialect, "mapped");
                    return Ok(state);
                }
                Err(Asked::Journal(error)) => return Err(crate::chain(&error)),
                Err(Asked::Gateway(refusal @ (Refusal::Silent(_) | Refusal::Taken(_)))) => {
                    return Err(refusal.to_string());
                }
                // What one dialect refuses, another may do.
                Err(Asked::Gateway(refusal)) => refused = refused.or(Some(refusal)),
            }
        }
        Err(refused
            .map_or_else(|| "the gateway speaks nothing that we speak".to_owned(), |refusal| refusal.to_string()))
    }

    /// Prolongs a mapping of ours in place.
    async fn renew(
        &mut self,
        gateway: &dyn Gateway,
        port: PublicPort,
        to: NonZeroU16,
        now: u64,
    ) -> Result<MappingState, String> {
        let Some(entry) = self.journal.get(gateway.address(), port).cloned() else {
            return self.establish(gateway, port, to, now).await;
        };
        match gateway.look(port).await {
            Ok(Some(found)) if !self.is_ours(gateway, &found, Some(&entry)) => {
                self.journal.strike(entry.gateway, port).map_err(|error| crate::chain(&error))?;
                return Err(taken(&found));
            }
            // What was made in another dialect need not be shown in this one.
            Ok(None) if entry.dialect == Dialect::Igd && !self.unsure.contains(&port) => {
                tracing::warn!(%port, "the gateway has lost a mapping; everything is asserted again");
                self.assert_all();
            }
            Ok(_) | Err(Refusal::Unsupported(_)) => {}
            Err(refusal) => return Err(refusal.to_string()),
        }
        match self.ask(gateway, entry, now).await {
            Ok(state) => Ok(state),
            Err(Asked::Journal(error)) => Err(crate::chain(&error)),
            Err(Asked::Gateway(refusal)) => Err(refusal.to_string()),
        }
    }

    /// Writes down what is asked, asks it, and writes down what was granted. What was refused for certain is struck out.
    async fn ask(&mut self, gateway: &dyn Gateway, entry: Entry, now: u64) -> Result<MappingState, Asked> {
        let held = self.journal.get(entry.gateway, entry.port);
        let was_granted = held.is_some_and(|held| held.lease.is_some());
        if held.is_none_or(|held| held.request(0) != entry.request(0)) {
            self.journal.put(entry.clone()).map_err(Asked::Journal)?;
        }
        match gateway.map(entry.dialect, &entry.request(self.lease)).await {
            Ok(grant) => {
                let dialect = entry.dialect;
                let entry = Entry { lease: Some(grant.lease), since: now, ..entry };
                self.journal.put(entry).map_err(Asked::Journal)?;
                Ok(MappingState::Mapped { dialect, lease: grant.lease })
            }
            Err(refusal) => {
                if !matches!(refusal, Refusal::Silent(_)) && !was_granted {
                    self.journal.strike(entry.gateway, entry.port).map_err(Asked::Journal)?;
                }
                Err(Asked::Gateway(refusal))
            }
        }
    }

    /// Ends a mapping of ours, and strikes it out. What others have in its place stays.
    async fn end(&mut self, gateway: &dyn Gateway, entry: &Entry, now: u64) -> Result<(), String> {
        let strike =
            |mapper: &mut Self| mapper.journal.strike(entry.gateway, entry.port).map_err(|error| crate::chain(&error));
        if entry.gateway != gateway.address() || entry.has_ended(now) {
            return match entry.has_ended(now) {
                true => strike(self),
                false => Err(format!("the gateway {} that has it is not ours any more", entry.gateway)),
            };
        }
        let is_there = match gateway.look(entry.port).await {
            Ok(found) => found.is_some_and(|found| self.is_ours(gateway, &found, Some(entry))),
            Err(Refusal::Unsupported(_)) => true,
            Err(refusal) => return Err(refusal.to_string()),
        };
        if is_there {
            // Should the answer be lost, nobody knows whether there is a mapping.
            let unclear = Entry { lease: None, ..entry.clone() };
            self.journal.put(unclear).map_err(|error| crate::chain(&error))?;
            match gateway.unmap(entry.dialect, &entry.request(0)).await {
                // One that may not have been granted at all, and is not allowed.
                Ok(()) | Err(Refusal::Forbidden(_)) if entry.lease.is_none() => {}
                outcome => outcome.map_err(|refusal| refusal.to_string())?,
            }
            tracing::info!(port = %entry.port, "the mapping has ended");
        }
        strike(self)
    }

    /// Whether a mapping on the gateway is ours: it bears our name and leads here or where the journal says; where the
    /// gateway puts its own name on it, the journal says.
    fn is_ours(&self, gateway: &dyn Gateway, found: &Found, entry: Option<&Entry>) -> bool {
        let leads_here = found.client == gateway.local();
        match entry {
            Some(entry) if entry.dialect != Dialect::Igd => found.client == entry.local && found.to == entry.to.get(),
            Some(entry) if found.client == entry.local => self.bears_our_name(&found.description),
            _ => leads_here && self.bears_our_name(&found.description),
        }
    }

    fn bears_our_name(&self, description: &str) -> bool {
        description.strip_prefix(OURS).is_some_and(|rest| {
            let name = rest.strip_prefix(':').and_then(|rest| rest.strip_prefix(self.node.as_str()));
            name.is_some_and(|rest| rest.starts_with(':'))
        })
    }

    fn description(&self, port: PublicPort, to: NonZeroU16) -> String {
        let digest = Sha256::digest(format!("{} {port} {to}", self.node));
        format!("{OURS}:{}:{}", self.node, data_encoding::HEXLOWER.encode(&digest[..4]))
    }
}

enum Asked {
    Journal(FileError),
    Gateway(Refusal),
}

fn taken(found: &Found) -> String {
    let Found { client, to, description } = found;
    format!("the gateway leads this port to {client}:{to} already (\"{description}\"), which is not ours to change")
}

/// When a mapping is renewed: at half of its lease, and up to a tenth off, so that not all are renewed at once.
fn renewal(entry: &Entry) -> u64 {
    let spread = Sha256::digest(entry.description.as_bytes())[0];
    let per_mille = 450 + u64::from(spread) * 100 / 255;
    match entry.lease.unwrap_or_default() {
        0 => entry.since + LOOK_AT_PERMANENT,
        lease => entry.since + u64::from(lease) * per_mille / 1000,
    }
}

#[cfg(test)]
mod tests;
