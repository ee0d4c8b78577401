//! The daemon: sources and actors side by side, in one task, until it is told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::dns::{self, DnsReport};
use crate::door::Door;
use crate::firewall::nft::Place;
use crate::firewall::{self, FirewallReport};
use crate::gateway::actor::GatewayReport;
use crate::gateway::journal::Journal;
use crate::gateway::mapper::Mapper;
use crate::gateway::{self, Nonce, Search};
use crate::settings::{DnsSettings, OnExit, Settings, Source};
use crate::source::{self, Reading};
use crate::status::Status;

/// Source, actors, and what they tell each other.
pub struct Daemon {
    settings: Settings,
    node: String,
    source: Source,
    readings: watch::Sender<Reading>,
    firewall: Option<firewall::actor::Actor>,
    gateway: Option<gateway::actor::Actor>,
    firewall_report: watch::Receiver<FirewallReport>,
    gateway_report: watch::Receiver<GatewayReport>,
    dns: Option<dns::actor::Actor>,
    dns_report: watch::Receiver<DnsReport>,
}

impl Daemon {
    /// Puts it together. Nothing is asked or changed yet.
    pub fn of(settings: Settings) -> anyhow::Result<Self> {
        let (node, source) = (settings.node()?, settings.source()?);
        let readings = watch::Sender::new(Reading::default());
        let is_enabled = settings.firewall.enable;
        let (firewall_sender, firewall_report) = watch::channel(FirewallReport { is_enabled, ..Default::default() });
        let (gateway_sender, gateway_report) = watch::channel(GatewayReport::default());
        let (dns_sender, dns_report) = watch::channel(DnsReport::default());
        let gateway = settings.gateway.enable.then(|| -> anyhow::Result<_> {
            let directory = settings.state_dir();
            config::file::make_private_directory(&directory)?;
            let mapper = Mapper::new(&node, settings.gateway.lease_seconds, Journal::open(&directory)?, nonce);
            Ok(gateway::actor::Actor {
                search: search(&settings),
                pulse: settings.pulse(),
                mapper,
                readings: readings.subscribe(),
                firewall: firewall_report.clone(),
                dns: dns_report.clone(),
                report: gateway_sender,
                found: None,
            })
        });
        let gateway = gateway.transpose().context("the journal of mappings (\"state_dir\")")?;
        let firewall = is_enabled.then(|| firewall::actor::Actor {
            place: place(&settings),
            refresh: Duration::from_secs(settings.firewall.refresh_seconds),
            readings: readings.subscribe(),
            gateway: gateway_report.clone(),
            report: firewall_sender,
            open: BTreeMap::new(),
        });
        let dns = match &settings.dns {
            Some(is) => Some(names(is, &settings, &node, &readings, &gateway_report, dns_sender)?),
            None => None,
        };
        Ok(Self {
            settings,
            node,
            source,
            readings,
            firewall,
            gateway,
            firewall_report,
            gateway_report,
            dns,
            dns_report,
        })
    }

    /// Publishes until a signal comes.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let door = Door::open(self.settings.listen()).await?;
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let look = self.look();
        let source = source::follow(
            self.source.clone(),
            self.settings.published_node()?,
            self.settings.allow_reserved_ports.clone(),
            self.readings.clone(),
        );
        let firewall = async {
            match &mut self.firewall {
                Some(actor) => actor.run().await,
                None => std::future::pending().await,
            }
        };
        let gateway = async {
            match &mut self.gateway {
                Some(actor) => actor.run().await,
                None => std::future::pending().await,
            }
        };
        let dns = async {
            match &mut self.dns {
                Some(actor) => actor.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = dns => {}
            () = source => {}
            () = firewall => {}
            () = gateway => {}
            () = door.serve(look) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(on_exit = ?self.settings.on_exit, "ending");
        if self.settings.on_exit == OnExit::Withdraw {
            self.withdraw().await;
        }
        Ok(())
    }

    /// Publishes what is wanted at the moment, and says how it went.
    pub async fn once(mut self) -> anyhow::Result<Status> {
        let wanted =
            source::read(&self.source, &self.settings.published_node()?, &self.settings.allow_reserved_ports).await?;
        self.readings.send_replace(Reading::of(wanted));
        if let Some(firewall) = &mut self.firewall {
            firewall.round().await;
        }
        if let Some(gateway) = &mut self.gateway {
            gateway.once().await;
        }
        if let Some(dns) = &mut self.dns {
            dns.round().await;
        }
        // What names do not hold any more goes now.
        if let Some(gateway) = self.gateway.as_mut().filter(|_| self.dns.is_some()) {
            gateway.once().await;
        }
        if let Some(firewall) = &mut self.firewall {
            firewall.round().await;
        }
        Ok(self.look()())
    }

    async fn withdraw(&mut self) {
        if let Some(dns) = &mut self.dns {
            dns.withdraw().await;
        }
        if let Some(gateway) = &mut self.gateway {
            gateway.withdraw().await;
        }
        if let Some(firewall) = &mut self.firewall {
            firewall.withdraw().await;
        }
    }

    fn look(&self) -> crate::door::Look {
        let (node, readings) = (self.node.clone(), self.readings.subscribe());
        let (firewall, gateway) = (self.firewall_report.clone(), self.gateway_report.clone());
        let (dns, has_dns, has_gateway) = (self.dns_report.clone(), self.dns.is_some(), self.gateway.is_some());
        Arc::new(move || {
            let (gateway, dns) = (gateway.borrow(), dns.borrow());
            let (gateway, dns) = (has_gateway.then_some(&*gateway), has_dns.then_some(&*dns));
            Status::of(&node, &readings.borrow(), &firewall.borrow(), gateway, dns)
        })
    }
}

/// The actor for names.
fn names(
    is: &DnsSettings,
    settings: &Settings,
    node: &str,
    readings: &watch::Sender<Reading>,
    gateway: &watch::Receiver<GatewayReport>,
    report: watch::Sender<DnsReport>,
) -> anyhow::Result<dns::actor::Actor> {
    let directory = settings.state_dir();
    config::file::make_private_directory(&directory)?;
    let journal = dns::journal::Journal::open(&directory).context("the journal of names (\"state_dir\")")?;
    let key = config::file::read_secret(&is.key_file)?;
    let key = dns::tsig::Key::of(is.key_name.clone(), &key).context("dns.key_file")?;
    let owner = format!("rz:{node}");
    let zone = dns::update::Zone { server: is.server, name: is.zone.clone(), ttl: is.ttl_seconds, owner, key };
    let policy = dns::actor::Policy {
        domains: is.domains.clone().unwrap_or_else(|| [is.zone.clone()].into()),
        cname_target: is.cname_target.clone(),
        allows_private: is.allow_private_address,
    };
    Ok(dns::actor::Actor {
        zone,
        policy,
        refresh: Duration::from_secs(is.refresh_seconds),
        journal,
        readings: readings.subscribe(),
        gateway: gateway.clone(),
        report,
        tries: BTreeMap::new(),
    })
}

/// Where our rules stand.
pub fn place(settings: &Settings) -> Place {
    settings.firewall.jump.clone().map_or(Place::OwnTable, Place::Jump)
}

/// Where to look for the gateway.
pub fn search(settings: &Settings) -> Search {
    let gateway = &settings.gateway;
    Search {
        address: gateway.address,
        local: gateway.local_address,
        allowed_hosts: gateway.allowed_hosts.clone(),
        dialects: gateway.protocols.clone(),
    }
}

fn nonce() -> Nonce {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("invariant: the kernel gives random numbers");
    Nonce(bytes)
}
