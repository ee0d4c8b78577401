//! The gateway of this host: what it speaks is found out once, and then spoken.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::Instant;

use async_trait::async_trait;

use super::epoch::Epoch;
use super::igd::{self, Igd};
use super::{Dialect, Found, Gateway, Grant, Pulse, Refusal, Request, nat_pmp, pcp, route, udp};
use crate::exposure::PublicPort;

/// Where to look for the gateway; what is left out is found out.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// Our address.
    pub local: Option<Ipv4Addr>,
    /// Other hosts at which UPnP's services may be.
    pub allowed_hosts: Vec<Ipv4Addr>,
    /// What may be spoken; everything where it is left out.
    pub dialects: Option<BTreeSet<Dialect>>,
}

/// A router on the way out, and what it speaks.
pub struct HomeGateway {
    address: Ipv4Addr,
    local: Ipv4Addr,
    igd: Option<Igd>,
    speaks_pcp: bool,
    speaks_nat_pmp: bool,
    allowed: Option<BTreeSet<Dialect>>,
    began: Instant,
    ages: Mutex<Ages>,
}

#[derive(Default)]
struct Ages {
    pcp: Epoch,
    nat_pmp: Epoch,
    igd: Epoch,
}

/// Why there is no gateway to be asked.
#[derive(Debug, thiserror::Error)]
pub enum NoGateway {
    /// There is no way out.
    #[error("there is no default route for IPv4, and no gateway is configured")]
    NoRoute,
    /// There is no way to it.
    #[error("no address of this host leads to the gateway {0}")]
    NoAddress(Ipv4Addr, #[source] std::io::Error),
    /// It speaks nothing that we speak.
    #[error("the gateway {0} speaks none of PCP, UPnP IGD and NAT-PMP with us; switch one of them on in its settings")]
    Mute(Ipv4Addr),
}

impl HomeGateway {
    /// Finds the gateway, and out what it speaks. All protocols are tried at once.
    pub async fn find(search: &Search) -> Result<Self, NoGateway> {
        let address = match search.address {
            Some(address) => address,
            None => route::default_route().ok_or(NoGateway::NoRoute)?.gateway,
        };
        let local = match search.local {
            Some(local) => local,
            None => route::local_address(address).map_err(|error| NoGateway::NoAddress(address, error))?,
        };
        let mut hosts = vec![address];
        hosts.extend(&search.allowed_hosts);
        let (announce, ask_address) = (pcp::announce(local), nat_pmp::address());
        let (igd, pcp, nat_pmp) = tokio::join!(
            igd::find(local, address, &hosts),
            udp::ask(local, address, &announce, pcp::read_announce),
            udp::ask(local, address, &ask_address, nat_pmp::read_address),
        );
        let igd = igd.unwrap_or_else(|error| {
            tracing::debug!(%error, "the search for UPnP gateways failed");
            None
        });
        let found = Self {
            address,
            local,
            igd,
            speaks_pcp: pcp.is_ok_and(|answer| !matches!(answer.outcome, Err(Refusal::Unsupported(_)))),
            speaks_nat_pmp: nat_pmp.is_ok_and(|answer| answer.outcome.is_ok()),
            allowed: search.dialects.clone(),
            began: Instant::now(),
            ages: Mutex::default(),
        };
        match found.dialects().is_empty() {
            true => Err(NoGateway::Mute(address)),
            false => Ok(found),
        }
    }

    fn age(&self, told: u32, of: impl FnOnce(&mut Ages) -> &mut Epoch) -> bool {
        let mut ages = self.ages.lock().expect("invariant: nothing panics while it holds the ages");
        of(&mut ages).has_restarted(told, self.began.elapsed().as_secs())
    }

    async fn pulse_of_nat_pmp(&self) -> Result<Pulse, Refusal> {
        let answer = udp::ask(self.local, self.address, &nat_pmp::address(), nat_pmp::read_address).await?;
        let has_restarted = self.age(answer.epoch, |ages| &mut ages.nat_pmp);
        Ok(Pulse { external: answer.outcome.ok().filter(|address| !address.is_unspecified()), has_restarted })
    }

    async fn pulse_of_pcp(&self) -> Result<Pulse, Refusal> {
        let answer = udp::ask(self.local, self.address, &pcp::announce(self.local), pcp::read_announce).await?;
        Ok(Pulse { external: None, has_restarted: self.age(answer.epoch, |ages| &mut ages.pcp) })
    }

    async fn pulse_of_igd(&self, igd: &Igd) -> Result<Pulse, Refusal> {
        let standing = igd.standing().await?;
        // A connection's uptime falls with its line too, which costs no more than a round of renewals.
        let has_restarted = standing.uptime.is_some_and(|uptime| self.age(uptime, |ages| &mut ages.igd));
        Ok(Pulse { external: standing.external, has_restarted })
    }

    async fn map_pcp(&self, request: &Request) -> Result<Grant, Refusal> {
        let read = |packet: &[u8]| pcp::read_map(packet, request);
        let answer = udp::ask(self.local, self.address, &pcp::map(request), read).await?;
        let mapped = answer.outcome?;
        if mapped.port == request.port.number.get() {
            return Ok(Grant { lease: mapped.lease });
        }
        self.unmap_pcp(request).await?;
        Err(Refusal::Taken(format!("PCP granted {} in its place", mapped.port)))
    }

    async fn unmap_pcp(&self, request: &Request) -> Result<(), Refusal> {
        let read = |packet: &[u8]| pcp::read_map(packet, request);
        udp::ask(self.local, self.address, &pcp::unmap(request), read).await?.outcome.map(drop)
    }

    async fn map_nat_pmp(&self, request: &Request) -> Result<Grant, Refusal> {
        let read = |packet: &[u8]| nat_pmp::read_map(packet, request);
        let answer = udp::ask(self.local, self.address, &nat_pmp::map(request), read).await?;
        let mapped = answer.outcome?;
        if mapped.port == request.port.number.get() {
            return Ok(Grant { lease: mapped.lease });
        }
        self.unmap_nat_pmp(request).await?;
        Err(Refusal::Taken(format!("NAT-PMP granted {} in its place", mapped.port)))
    }

    async fn unmap_nat_pmp(&self, request: &Request) -> Result<(), Refusal> {
        let read = |packet: &[u8]| nat_pmp::read_map(packet, request);
        udp::ask(self.local, self.address, &nat_pmp::unmap(request), read).await?.outcome.map(drop)
    }
}

fn not_spoken(dialect: Dialect) -> Refusal {
    Refusal::Unsupported(format!("it does not speak {dialect}"))
}

#[async_trait]
impl Gateway for HomeGateway {
    fn address(&self) -> Ipv4Addr {
        self.address
    }

    fn local(&self) -> Ipv4Addr {
        self.local
    }

    fn dialects(&self) -> Vec<Dialect> {
        let speaks = [
            (self.speaks_pcp, Dialect::Pcp),
            (self.igd.is_some(), Dialect::Igd),
            (self.speaks_nat_pmp, Dialect::NatPmp),
        ];
        let spoken = speaks.into_iter().filter_map(|(speaks, dialect)| speaks.then_some(dialect));
        spoken.filter(|dialect| self.allowed.as_ref().is_none_or(|allowed| allowed.contains(dialect))).collect()
    }

    async fn look(&self, port: PublicPort) -> Result<Option<Found>, Refusal> {
        match &self.igd {
            Some(igd) => igd.look(port).await,
            None => Err(not_spoken(Dialect::Igd)),
        }
    }

    async fn map(&self, dialect: Dialect, request: &Request) -> Result<Grant, Refusal> {
        match (dialect, &self.igd) {
            (Dialect::Pcp, _) => self.map_pcp(request).await,
            (Dialect::Igd, Some(igd)) => igd.map(request).await,
            (Dialect::NatPmp, _) => self.map_nat_pmp(request).await,
            (Dialect::Igd, None) => Err(not_spoken(dialect)),
        }
    }

    async fn unmap(&self, dialect: Dialect, request: &Request) -> Result<(), Refusal> {
        match (dialect, &self.igd) {
            (Dialect::Pcp, _) => self.unmap_pcp(request).await,
            (Dialect::Igd, Some(igd)) => igd.unmap(request.port).await,
            (Dialect::NatPmp, _) => self.unmap_nat_pmp(request).await,
            (Dialect::Igd, None) => Err(not_spoken(dialect)),
        }
    }

    async fn pulse(&self) -> Result<Pulse, Refusal> {
        let mut pulses = Vec::new();
        if let Some(igd) = &self.igd {
            pulses.push(self.pulse_of_igd(igd).await);
        }
        if self.speaks_nat_pmp {
            pulses.push(self.pulse_of_nat_pmp().await);
        }
        if self.speaks_pcp {
            pulses.push(self.pulse_of_pcp().await);
        }
        let mut silent = Refusal::Silent("it was asked nothing".into());
        let mut whole = None::<Pulse>;
        for pulse in pulses {
            match (pulse, &mut whole) {
                (Ok(pulse), None) => whole = Some(pulse),
                (Ok(pulse), Some(whole)) => {
                    whole.external = whole.external.or(pulse.external);
                    whole.has_restarted |= pulse.has_restarted;
                }
                (Err(refusal), _) => silent = refusal,
            }
        }
        whole.ok_or(silent)
    }
}
