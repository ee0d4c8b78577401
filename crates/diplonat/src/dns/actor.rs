//! Keeps names leading to what is published: after it is mapped, and gone before the mapping goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use types::DomainName;

use super::Target;
use super::journal::{Entry, Journal};
use super::update::Zone;
use crate::chain;
use crate::exposure::{PublicPort, RecordKind, Wanted};
use crate::gateway::actor::GatewayReport;
use crate::gateway::mapper::MappingState;
use crate::source::Reading;

/// Waits after failures: doubled from the first to the last.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LAST_WAIT: Duration = Duration::from_secs(300);
/// Failed removals after which a name no longer keeps its ports open.
const PATIENCE: u32 = 5;
/// What the withdrawal of everything may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What may be written into the zone.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The domains in which names may be.
    pub domains: BTreeSet<DomainName>,
    /// The name that CNAME records lead to.
    pub cname_target: Option<DomainName>,
    /// Whether an address is written that the internet does not know.
    pub allows_private: bool,
}

/// What is known of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsReport {
    /// How it stands with each name.
    pub names: BTreeMap<DomainName, NameState>,
    /// Ports that names lead to: nothing before them may close.
    pub held: BTreeSet<PublicPort>,
}

/// How it stands with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NameState {
    /// It leads there.
    Named {
        /// Where.
        targets: BTreeSet<Target>,
    },
    /// It does not.
    Failed {
        /// Why.
        cause: String,
    },
}

/// Everything that the actor needs.
pub struct Actor {
    /// The zone.
    pub zone: Zone,
    /// What may be written into it.
    pub policy: Policy,
    /// How often names are written again.
    pub refresh: Duration,
    /// Our names.
    pub journal: Journal,
    /// What is wanted.
    pub readings: watch::Receiver<Reading>,
    /// What is mapped.
    pub gateway: watch::Receiver<GatewayReport>,
    /// Where it says how it stands.
    pub report: watch::Sender<DnsReport>,
    /// What was tried, and when it is due again.
    pub tries: BTreeMap<DomainName, Try>,
}

/// What was done about a name the last time.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    failed: u32,
    next: Instant,
}

/// Where a wanted name is to lead, and the ports that it leads to; or why it cannot.
type Wish = (BTreeSet<PublicPort>, Result<BTreeSet<Target>, String>);

impl Actor {
    /// Does so for ever.
    pub async fn run(&mut self) {
        loop {
            self.round().await;
            let next = self.tries.values().map(|tried| tried.next).min();
            let wake = next.unwrap_or_else(|| Instant::now() + self.refresh);
            tokio::select! {
                Ok(()) = self.readings.changed() => {}
                Ok(()) = self.gateway.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does what is due: first removes what is not wanted, then writes what is.
    pub async fn round(&mut self) {
        let gateway = self.gateway.borrow_and_update().clone();
        let Some(wanted) = self.readings.borrow_and_update().wanted.clone() else { return self.tell(BTreeMap::new()) };
        let wishes = wishes(&wanted, &gateway, &self.policy, ipv6_address());
        self.tries.retain(|name, _| wishes.contains_key(name) || self.journal.entries().contains_key(name));
        let unwanted: Vec<_> =
            self.journal.entries().keys().filter(|name| !wishes.contains_key(*name)).cloned().collect();
        for name in unwanted {
            self.remove(&name).await;
        }
        let mut states = BTreeMap::new();
        for (name, (ports, targets)) in wishes {
            let is_mapped = |port| matches!(gateway.ports.get(port), Some(MappingState::Mapped { .. }));
            let is_ours = self.journal.entries().contains_key(&name);
            let state = match targets {
                Err(cause) => NameState::Failed { cause },
                // What is there already still leads to the other ports, and to these again.
                Ok(_) if !is_ours && !ports.iter().any(is_mapped) => {
                    NameState::Failed { cause: "no port that it leads to is mapped".into() }
                }
                Ok(targets) => self.point(&name, targets, ports).await,
            };
            states.insert(name, state);
        }
        self.tell(states);
    }

    /// Removes all names of ours, as far as the time allows.
    pub async fn withdraw(&mut self) {
        self.tries.clear();
        let names: Vec<_> = self.journal.entries().keys().cloned().collect();
        let removal = async {
            for name in names {
                self.remove(&name).await;
            }
        };
        if timeout(FAREWELL, removal).await.is_err() {
            tracing::warn!("the name server took too long; names of ours are left");
        }
        self.tell(BTreeMap::new());
    }

    async fn point(&mut self, name: &DomainName, targets: BTreeSet<Target>, ports: BTreeSet<PublicPort>) -> NameState {
        let held = self.journal.entries().get(name);
        let is_so = held.is_some_and(|held| held.targets == targets);
        let is_new = held.is_none();
        let entry = |targets| Entry { targets, ports: ports.clone() };
        let last = self.tries.get(name).copied();
        let is_due = last.is_none_or(|last| Instant::now() >= last.next);
        if !is_due && (is_so || last.is_some_and(|last| last.failed > 0)) {
            let before = self.report.borrow().names.get(name).cloned();
            return before.unwrap_or(NameState::Named { targets });
        }
        let written = if is_so { entry(targets.clone()) } else { entry(BTreeSet::new()) };
        if let Err(error) = self.journal.put(name, written) {
            return NameState::Failed { cause: chain(&error) };
        }
        let outcome = self.zone.point(name, &targets).await;
        let noted = match &outcome {
            Ok(()) => self.journal.put(name, entry(targets.clone())),
            // Nothing of ours was there, and nothing was done.
            Err(super::update::UpdateError::Foreign(_)) => self.journal.strike(name),
            Err(super::update::UpdateError::Refused { .. }) if is_new => self.journal.strike(name),
            Err(_) => Ok(()),
        };
        let outcome = outcome.map_err(|error| chain(&error)).and(noted.map_err(|error| chain(&error)));
        self.note(name, outcome.is_ok());
        match outcome {
            Ok(()) => {
                if !is_so {
                    tracing::info!(%name, ?targets, "the name leads here");
                }
                NameState::Named { targets }
            }
            Err(cause) => {
                tracing::warn!(%name, cause, "the name is not as it is wanted");
                NameState::Failed { cause }
            }
        }
    }

    async fn remove(&mut self, name: &DomainName) {
        let last = self.tries.get(name);
        if last.is_some_and(|last| last.failed > 0 && Instant::now() < last.next) {
            return;
        }
        let outcome = match self.zone.remove(name).await {
            Ok(()) => self.journal.strike(name).map_err(|error| chain(&error)),
            Err(error) => Err(chain(&error)),
        };
        match outcome {
            Ok(()) => {
                tracing::info!(%name, "the name is gone");
                self.tries.remove(name);
            }
            Err(cause) => {
                tracing::warn!(%name, cause, "the name cannot be removed");
                self.note(name, false);
            }
        }
    }

    fn note(&mut self, name: &DomainName, is_good: bool) {
        let failed = match is_good {
            true => 0,
            false => self.tries.get(name).map_or(0, |tried| tried.failed) + 1,
        };
        let wait = match failed {
            0 => self.refresh,
            failed => (FIRST_WAIT * (1 << (failed - 1).min(8))).min(LAST_WAIT),
        };
        self.tries.insert(name.clone(), Try { failed, next: Instant::now() + wait });
    }

    fn tell(&self, names: BTreeMap<DomainName, NameState>) {
        let hopeless = |name| {
            self.tries.get(name).is_some_and(|tried: &Try| tried.failed >= PATIENCE) && !names.contains_key(name)
        };
        let entries = self.journal.entries().iter().filter(|(name, _)| !hopeless(*name));
        let held = entries.flat_map(|(_, entry)| entry.ports.iter().copied()).collect();
        let report = DnsReport { names, held };
        self.report.send_if_modified(|told| {
            let is_news = *told != report;
            *told = report;
            is_news
        });
    }
}

/// The names that are wanted, and where they are to lead.
fn wishes(
    wanted: &Wanted,
    gateway: &GatewayReport,
    policy: &Policy,
    ipv6: Option<Ipv6Addr>,
) -> BTreeMap<DomainName, Wish> {
    let mut wishes = BTreeMap::<DomainName, Wish>::new();
    for exposure in wanted.ports.values() {
        for wish in &exposure.names {
            let target = match is_within(&wish.name, &policy.domains) {
                true => target(wish.kind, gateway, policy, ipv6),
                false => Err(format!("{} is in none of the domains that are allowed (\"dns.domains\")", wish.name)),
            };
            let (ports, targets) = wishes.entry(wish.name.clone()).or_insert_with(|| ([].into(), Ok([].into())));
            ports.insert(exposure.port);
            match (targets.as_mut(), target) {
                (Ok(targets), Ok(target)) => drop(targets.insert(target)),
                (Ok(_), Err(cause)) => *targets = Err(cause),
                (Err(_), _) => {}
            }
        }
    }
    for (_, targets) in wishes.values_mut() {
        let is_mixed = |targets: &BTreeSet<Target>| {
            targets.len() > 1 && targets.iter().any(|target| matches!(target, Target::Cname(_)))
        };
        if targets.as_ref().is_ok_and(is_mixed) {
            *targets = Err("a name with a CNAME has no addresses".into());
        }
    }
    wishes
}

fn target(
    kind: RecordKind,
    gateway: &GatewayReport,
    policy: &Policy,
    ipv6: Option<Ipv6Addr>,
) -> Result<Target, String> {
    match kind {
        RecordKind::A => {
            let facts = gateway.gateway.as_ref();
            match facts.and_then(|facts| Some((facts.external?, facts.is_public))) {
                Some((address, is_public)) if is_public || policy.allows_private => Ok(Target::A(address)),
                Some((address, _)) => Err(format!(
                    "the address outside is {address}, which the internet does not know (see \"dns.allow_private_address\")"
                )),
                None => Err("the address outside is not known".into()),
            }
        }
        RecordKind::Aaaa => ipv6.map(Target::Aaaa).ok_or_else(|| "this host has no public IPv6 address".into()),
        RecordKind::Cname => {
            let target = policy.cname_target.clone();
            target.map(Target::Cname).ok_or_else(|| "\"dns.cname_target\" is not set".into())
        }
    }
}

fn is_within(name: &DomainName, domains: &BTreeSet<DomainName>) -> bool {
    domains.iter().any(|domain| {
        let rest = name.as_str().strip_suffix(domain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// The first global unicast address of this host.
fn ipv6_address() -> Option<Ipv6Addr> {
    let addresses = nix::ifaddrs::getifaddrs().ok()?.filter_map(|interface| interface.address);
    let mut global = addresses.filter_map(|address| Some(address.as_sockaddr_in6()?.ip()));
    global.find(|address| address.segments()[0] & 0xe000 == 0x2000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::actor::Facts;
    use crate::tag;

    fn shown(tags: &[&str], external: Option<[u8; 4]>) -> Vec<String> {
        let wanted = Wanted::of([tag::service("web", tags.iter().copied())], &[].into());
        let external = external.map(Into::into);
        let is_public = external.is_some_and(crate::gateway::is_public);
        let [address, local] = [[192, 168, 1, 1], [192, 168, 1, 2]].map(Into::into);
        let gateway = Some(Facts { address, local, dialects: Vec::new(), external, is_public });
        let gateway = GatewayReport { gateway, ..Default::default() };
        let domains = ["example.org".parse().unwrap()].into();
        let policy = Policy { domains, cname_target: Some("home.example.org".parse().unwrap()), allows_private: false };
        let wishes = wishes(&wanted, &gateway, &policy, "2001:db8::1".parse().ok());
        wishes.iter().map(|(name, (ports, targets))| format!("{name} {} {targets:?}", ports.len())).collect()
    }

    #[test]
    fn names_lead_where_their_kind_says() {
        let tags = [
            "(diplonat (tcp_port 80 443))",
            "d53-a a.example.org",
            "d53-aaaa a.example.org",
            "d53-cname c.example.org",
        ];
        assert_eq!(
            shown(&tags, Some([11, 22, 33, 5])),
            [
                "a.example.org 2 Ok({A(11.22.33.5), Aaaa(2001:db8::1)})",
                "c.example.org 2 Ok({Cname(DomainName(\"home.example.org\"))})",
            ]
        );
    }

    #[test]
    fn what_may_not_be_written_says_why() {
        let cause = |tags: &[&str], external| shown(tags, external).join("\n");
        let one = |name| ["(diplonat (tcp_port 80))", name];
        assert!(cause(&one("d53-a a.example.com"), Some([11, 22, 33, 5])).contains("in none of the domains"));
        assert!(cause(&one("d53-a badexample.org"), Some([11, 22, 33, 5])).contains("in none of the domains"));
        assert!(cause(&one("d53-a a.example.org"), Some([100, 64, 0, 1])).contains("does not know"));
        assert!(cause(&one("d53-a a.example.org"), None).contains("is not known"));
        let mixed = ["(diplonat (tcp_port 80))", "d53-a a.example.org", "d53-cname a.example.org"];
        assert!(cause(&mixed, Some([11, 22, 33, 5])).contains("has no addresses"));
    }
}
