//! The look at the router before a change is confirmed. What the login may not see, or the router does not tell, counts
//! as in order: interfaces are always looked at, dnsmasq and nft where that is possible.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::bail;
use types::Slot;

use crate::command::{Command, NFT};
use crate::names::Names;
use crate::plan::Placement;
use crate::router::{NameServers, Router};

/// How long procd and dnsmasq take at most to act on a change, where it cannot be seen that they did.
const SETTLING: Duration = Duration::from_secs(5);

/// What has to come about.
pub struct Verification<'a> {
    /// The router.
    pub router: &'a Router,
    /// What was placed on it.
    pub placements: Vec<&'a Placement>,
    /// The name servers that ran before.
    pub name_servers: Option<&'a NameServers>,
    /// The slots whose name servers have to start anew.
    pub restarting: &'a BTreeSet<Slot>,
    /// When the change began.
    pub began: Instant,
}

impl Verification<'_> {
    /// Looks once; an error says what is still missing.
    pub async fn look(&self) -> anyhow::Result<()> {
        let dump = self.router.dump().await?;
        if let Some(lack) = self.placements.iter().find_map(|placement| dump.lacks(placement)) {
            bail!("{lack}");
        }
        self.look_at_name_servers().await?;
        for placement in &self.placements {
            self.look_at_zones(placement).await?;
        }
        Ok(())
    }

    async fn look_at_name_servers(&self) -> anyhow::Result<()> {
        let (Some(before), Some(running)) = (self.name_servers, self.router.name_servers().await) else {
            return Ok(());
        };
        for (slot, wanted) in self.placements.iter().flat_map(|placement| placement.slots_wanted()) {
            let name = Names::of(slot).interface();
            match (wanted, running.get(&name)) {
                (true, None) => bail!("dnsmasq {name} does not run"),
                // A process that is the same as before may not have heard of the change.
                (true, Some(pid)) if self.is_old(slot, before.get(&name), *pid) => {
                    bail!("dnsmasq {name} has not started anew")
                }
                (false, Some(_)) => bail!("dnsmasq {name} still runs"),
                (true, Some(_)) | (false, None) => {}
            }
        }
        Ok(())
    }

    fn is_old(&self, slot: Slot, before: Option<&u64>, pid: u64) -> bool {
        self.restarting.contains(&slot) && before == Some(&pid) && self.began.elapsed() < SETTLING
    }

    /// nft refuses a ruleset as a whole and keeps the old one, so that a chain of ours tells of all of it.
    async fn look_at_zones(&self, placement: &Placement) -> anyhow::Result<()> {
        for (slot, wanted) in placement.slots_wanted() {
            let Ok(output) = self.router.run(&show_zone(Names::of(slot))).await else {
                return Ok(());
            };
            match (wanted, output.code == 0) {
                (true, false) => bail!("the firewall has no zone {slot}"),
                (false, true) => bail!("the firewall still has a zone {slot}"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The command that fails where the firewall has no such zone.
fn show_zone(names: Names) -> Command {
    Command::new(NFT, &format!("list chain inet fw4 input_{}", names.interface()))
}
