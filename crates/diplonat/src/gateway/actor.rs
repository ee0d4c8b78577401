//! Keeps the gateway's mappings as they are wanted: finds it, watches over it, and finds another when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::mapper::{Mapper, MappingState, Wishes};
use super::{Dialect, Gateway, HomeGateway, Search, is_public, route};
use crate::chain;
use crate::dns::DnsReport;
use crate::exposure::PublicPort;
use crate::firewall::FirewallReport;
use crate::source::Reading;

/// Pulses without an answer after which the gateway is looked for again.
const SILENT_PULSES: u32 = 3;
/// Waits between searches that find nothing: doubled from the first to the last.
const FIRST_SEARCH: Duration = Duration::from_secs(2);
const LAST_SEARCH: Duration = Duration::from_secs(60);
/// What the withdrawal of everything may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is known of the gateway, and what it maps for us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatewayReport {
    /// The gateway, once it is found.
    pub gateway: Option<Facts>,
    /// Why there is none, or what is wrong with it.
    pub trouble: Option<String>,
    /// How it stands with each port.
    pub ports: BTreeMap<PublicPort, MappingState>,
    /// Ports that may be mapped: nothing before them may close.
    #[serde(skip)]
    pub held: BTreeSet<PublicPort>,
}

/// What is known of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its address inside.
    pub address: Ipv4Addr,
    /// Our address on the way to it.
    pub local: Ipv4Addr,
    /// What it speaks.
    pub dialects: Vec<Dialect>,
    /// Its address outside, as it says.
    pub external: Option<Ipv4Addr>,
    /// Whether the internet knows that address.
    pub is_public: bool,
}

impl Facts {
    /// What a gateway shows at a time.
    pub fn of(gateway: &dyn Gateway, external: Option<Ipv4Addr>) -> Self {
        Self {
            address: gateway.address(),
            local: gateway.local(),
            dialects: gateway.dialects(),
            external,
            is_public: external.is_some_and(is_public),
        }
    }
}

/// Everything that the actor needs.
pub struct Actor {
    /// Where to look.
    pub search: Search,
    /// How often the gateway is asked how it is.
    pub pulse: Duration,
    /// The mappings.
    pub mapper: Mapper,
    /// What is wanted.
    pub readings: watch::Receiver<Reading>,
    /// What is open.
    pub firewall: watch::Receiver<FirewallReport>,
    /// What names in DNS still lead to.
    pub dns: watch::Receiver<DnsReport>,
    /// Where it says how it stands.
    pub report: watch::Sender<GatewayReport>,
    /// The gateway that was found last.
    pub found: Option<Arc<HomeGateway>>,
}

impl Actor {
    /// Does so for ever.
    pub async fn run(&mut self) {
        let mut wait = FIRST_SEARCH;
        loop {
            match HomeGateway::find(&self.search).await {
                Ok(gateway) => {
                    wait = FIRST_SEARCH;
                    let gateway = Arc::new(gateway);
                    self.found = Some(gateway.clone());
                    self.work_with(&gateway).await;
                }
                Err(error) => {
                    self.tell(None, Some(chain(&error)));
                    sleep(wait).await;
                    wait = (wait * 2).min(LAST_SEARCH);
                }
            }
        }
    }

    /// Asks for everything that is wanted once; answers whether all of it is mapped.
    pub async fn once(&mut self) -> bool {
        match HomeGateway::find(&self.search).await {
            Ok(gateway) => {
                let external = gateway.pulse().await.ok().and_then(|pulse| pulse.external);
                let (wishes, kept) = (self.wishes(&gateway), self.kept());
                self.all_rounds(&gateway, &wishes, &kept).await;
                self.tell(Some(Facts::of(&gateway, external)), None);
                self.mapper.states().values().all(|state| matches!(state, MappingState::Mapped { .. }))
            }
            Err(error) => {
                self.tell(None, Some(chain(&error)));
                false
            }
        }
    }

    /// Ends all mappings of ours, as far as the time allows.
    pub async fn withdraw(&mut self) {
        if self.mapper.held().is_empty() {
            return;
        }
        let withdrawal = async {
            let found = match self.found.take() {
                Some(found) => Some(found),
                None => HomeGateway::find(&self.search).await.ok().map(Arc::new),
            };
            if let Some(gateway) = found {
                self.mapper.assert_all();
                self.all_rounds(&*gateway, &Wishes::new(), &BTreeSet::new()).await;
            }
        };
        if timeout(FAREWELL, withdrawal).await.is_err() {
            tracing::warn!("the gateway took too long; what is left of our mappings ends with its lease");
        }
        let (facts, trouble) = (self.report.borrow().gateway.clone(), self.report.borrow().trouble.clone());
        self.tell(facts, trouble);
    }

    /// Does everything that is due; what fails is due again only later.
    async fn all_rounds(&mut self, gateway: &dyn Gateway, wishes: &Wishes, kept: &BTreeSet<PublicPort>) {
        loop {
            let now = now();
            self.mapper.round(gateway, wishes, kept, now).await;
            if self.mapper.next(gateway, wishes, kept, now).is_none_or(|next| next > now) {
                return;
            }
        }
    }

    /// Works with a gateway until it is gone.
    async fn work_with(&mut self, gateway: &HomeGateway) {
        let dialects: Vec<_> = gateway.dialects().iter().map(ToString::to_string).collect();
        let (address, local) = (gateway.address(), gateway.local());
        tracing::info!(%address, %local, dialects = dialects.join(", "), "found the gateway");
        let (mut facts, mut next_pulse, mut silent) = (Facts::of(gateway, None), Instant::now(), 0);
        loop {
            if Instant::now() >= next_pulse {
                next_pulse = Instant::now() + self.pulse;
                match gateway.pulse().await {
                    Ok(pulse) => {
                        silent = 0;
                        if facts.external != pulse.external {
                            tracing::info!(external = ?pulse.external, "the gateway's address outside");
                        }
                        facts = Facts::of(gateway, pulse.external);
                        if pulse.has_restarted {
                            tracing::warn!("the gateway was started again; everything is asserted again");
                            self.mapper.assert_all();
                        }
                    }
                    Err(refusal) => {
                        silent += 1;
                        self.tell(Some(facts.clone()), Some(refusal.to_string()));
                    }
                }
                if silent >= SILENT_PULSES || self.has_moved(gateway) {
                    tracing::warn!("the gateway is gone; looking for one again");
                    return;
                }
            }
            let (wishes, kept) = (self.wishes(gateway), self.kept());
            if silent == 0 {
                self.mapper.round(gateway, &wishes, &kept, now()).await;
                self.tell(Some(facts.clone()), None);
            }
            let due = self.mapper.next(gateway, &wishes, &kept, now()).map(until).filter(|_| silent == 0);
            let wake =
                due.map_or(next_pulse, |due| due.min(next_pulse)).max(Instant::now() + Duration::from_millis(20));
            tokio::select! {
                Ok(()) = self.readings.changed() => {}
                Ok(()) = self.firewall.changed() => {}
                Ok(()) = self.dns.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// What is wanted and may be mapped: what is open, or was mapped before. Where nothing is known, what is mapped
    /// stays so.
    fn wishes(&mut self, gateway: &dyn Gateway) -> Wishes {
        let reading = self.readings.borrow_and_update().clone();
        let firewall = self.firewall.borrow_and_update();
        let Some(wanted) = reading.wanted else {
            return self.mapper.entries_of(gateway.address());
        };
        let held = self.mapper.held();
        let ports = wanted.ports.iter();
        let ready = ports.filter(|(port, _)| firewall.is_open(**port) || held.contains(*port));
        ready.map(|(port, exposure)| (*port, exposure.to)).collect()
    }

    fn kept(&mut self) -> BTreeSet<PublicPort> {
        self.dns.borrow_and_update().held.clone()
    }

    fn has_moved(&self, gateway: &dyn Gateway) -> bool {
        let address = self.search.address.or_else(|| Some(route::default_route()?.gateway));
        let local = self.search.local.or_else(|| route::local_address(gateway.address()).ok());
        address != Some(gateway.address()) || local != Some(gateway.local())
    }

    fn tell(&self, gateway: Option<Facts>, trouble: Option<String>) {
        let (ports, held) = (self.mapper.states().clone(), self.mapper.held());
        let report = GatewayReport { gateway, trouble, ports, held };
        self.report.send_if_modified(|told| {
            if told.trouble != report.trouble
                && let Some(trouble) = &report.trouble
            {
                tracing::warn!(cause = trouble, "trouble with the gateway");
            }
            let is_news = *told != report;
            *told = report;
            is_news
        });
    }
}

/// Seconds since 1970: leases outlive processes.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn until(at: u64) -> Instant {
    Instant::now() + Duration::from_secs(at.saturating_sub(now()))
}
