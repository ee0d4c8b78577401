//! What a machine may say on its segment: frames from its own MAC address and its own IPv4 address, and nothing else.
//!
//! One nft table of the family `bridge` sees every frame that enters a bridge by a port, before the bridge learns where
//! it came from. Rules go by the tap's name, so that they are there before the tap is. A machine answers ARP for itself
//! alone and is no DHCP server. Networks are IPv4, so IPv6, and with it router advertisements and redirects, does not
//! pass at all. What enters by a port that is no machine's tap is not looked at.
//!
//! The table is always written whole, in one transaction, from the records of the machines on this host.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use types::{HostAddr, InstanceId, MacAddr};

use crate::instance::record::Record;
use crate::instance::tap;
use crate::program::{run, run_with_input};
use crate::storage::Storage;

const TABLE: &str = "rhyzome-libvirt";

/// Whose frames pass a machine's tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// The machine's MAC address.
    pub mac: MacAddr,
    /// The machine's address.
    pub address: HostAddr,
}

/// The filter of every tap on this host.
pub struct TapFilter {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    admitted: BTreeMap<InstanceId, Admission>,
    /// The kernel's own words for the table when it was written last.
    written: Option<String>,
}

impl TapFilter {
    /// The filter for the machines that are on record. Nothing is written yet.
    pub fn open(storage: &Storage) -> anyhow::Result<Self> {
        let mut admitted = BTreeMap::new();
        for id in storage.instance_ids()? {
            if let Some(admission) = Record::read(&storage.instance(id))?.and_then(|record| record.admission) {
                admitted.insert(id, admission);
            }
        }
        Ok(Self { state: Mutex::new(State { admitted, written: None }) })
    }

    /// Lets a machine speak as what it is. Its tap need not be there yet.
    pub async fn admit(&self, id: InstanceId, admission: Admission) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        if state.admitted.insert(id, admission) == Some(admission) && state.stands().await {
            return Ok(());
        }
        state.write().await
    }

    /// Forgets a machine that is gone.
    pub async fn forget(&self, id: InstanceId) -> anyhow::Result<()> {
        let mut state = self.state.lock().await;
        match state.admitted.remove(&id) {
            Some(_) => state.write().await,
            None => Ok(()),
        }
    }

    /// Writes the table where it is not as it was written. Says whether somebody else had changed it.
    pub async fn restore(&self) -> anyhow::Result<bool> {
        let mut state = self.state.lock().await;
        if state.stands().await {
            return Ok(false);
        }
        let changed = state.written.is_some();
        state.write().await?;
        Ok(changed)
    }
}

impl State {
    async fn stands(&self) -> bool {
        listing().await == self.written && (self.written.is_some() || self.admitted.is_empty())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        run_with_input("nft", ["--file", "-"], &table(&self.admitted)).await?;
        self.written = listing().await;
        Ok(())
    }
}

/// Removes the table.
pub async fn remove() -> anyhow::Result<()> {
    run_with_input("nft", ["--file", "-"], &table(&BTreeMap::new())).await.map(drop)
}

/// The table as the kernel has it; none where there is no table.
async fn listing() -> Option<String> {
    run("nft", ["--stateless", "list", "table", "bridge", TABLE]).await.ok()
}

/// The script that puts the table in the place of the one before; no table where nobody is admitted.
fn table(admitted: &BTreeMap<InstanceId, Admission>) -> String {
    // Added first, so that it is no error when it is not there.
    let mut script = format!("add table bridge {TABLE}\ndelete table bridge {TABLE}\n");
    if !admitted.is_empty() {
        // Writing to a text cannot fail.
        let _ = write_table(&mut script, admitted);
    }
    script
}

fn write_table(out: &mut String, admitted: &BTreeMap<InstanceId, Admission>) -> std::fmt::Result {
    writeln!(out, "table bridge {TABLE} {{")?;
    for (id, Admission { mac, address }) in admitted {
        let tap = tap(*id);
        writeln!(out, "  chain {tap} {{")?;
        writeln!(out, "    ether saddr != {mac} drop")?;
        writeln!(out, "    ether type arp arp saddr ether {mac} arp saddr ip {address} accept")?;
        // Asking whether an address is free (RFC 5227, section 1.1) is done without one.
        writeln!(out, "    ether type arp arp saddr ether {mac} arp saddr ip 0.0.0.0 arp daddr ip {address} accept")?;
        writeln!(out, "    ether type ip udp sport 67 drop")?;
        writeln!(out, "    ether type ip ip saddr {address} accept")?;
        writeln!(out, "    ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept")?;
        writeln!(out, "    drop")?;
        writeln!(out, "  }}")?;
    }
    let taps: Vec<String> = admitted.keys().map(|id| format!("\"{0}\" : goto {0}", tap(*id))).collect();
    writeln!(out, "  map taps {{")?;
    writeln!(out, "    type ifname : verdict")?;
    writeln!(out, "    elements = {{ {} }}", taps.join(", "))?;
    writeln!(out, "  }}")?;
    writeln!(out, "  chain ports {{")?;
    writeln!(out, "    type filter hook prerouting priority filter; policy accept;")?;
    writeln!(out, "    iifname vmap @taps")?;
    writeln!(out, "  }}")?;
    writeln!(out, "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_in_full() {
        let admitted = BTreeMap::from([
            (
                InstanceId::from_bits(7),
                Admission { mac: "52:54:00:12:34:56".parse().unwrap(), address: "10.77.0.10".parse().unwrap() },
            ),
            (
                InstanceId::from_bits(8),
                Admission { mac: "52:54:00:12:34:57".parse().unwrap(), address: "10.77.0.11".parse().unwrap() },
            ),
        ]);
        insta::assert_snapshot!(table(&admitted));
    }

    #[test]
    fn nobody_needs_no_table() {
        assert_eq!(table(&BTreeMap::new()).lines().last(), Some("delete table bridge rhyzome-libvirt"));
    }
}
