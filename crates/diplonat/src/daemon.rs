//! The daemon: sources and actors side by side, in one task, until it is told to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::door::Door;
use crate::firewall::nft::Place;
use crate::firewall::{self, FirewallReport};
use crate::gateway::actor::GatewayReport;
use crate::gateway::journal::Journal;
use crate::gateway::mapper::Mapper;
use crate::gateway::{self, Nonce, Search};
use crate::settings::{OnExit, Settings, Source};
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
    // The ports that names lead to; held open, as whoever listens counts on it.
    _named: watch::Sender<BTreeSet<crate::exposure::PublicPort>>,
}

impl Daemon {
    /// Puts it together. Nothing is asked or changed yet.
    pub fn of(settings: Settings) -> anyhow::Result<Self> {
        let (node, source) = (settings.node()?, settings.source()?);
        let readings = watch::Sender::new(Reading::default());
        let is_enabled = settings.firewall.enable;
        let (firewall_sender, firewall_report) = watch::channel(FirewallReport { is_enabled, ..Default::default() });
        let (gateway_sender, gateway_report) = watch::channel(GatewayReport::default());
        let named = watch::Sender::new(BTreeSet::new());
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
                named: named.subscribe(),
                report: gateway_sender,
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
        Ok(Self { settings, node, source, readings, firewall, gateway, firewall_report, gateway_report, _named: named })
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
        tokio::select! {
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
        if let Some(firewall) = &mut self.firewall {
            firewall.round().await;
        }
        Ok(self.look()())
    }

    async fn withdraw(&mut self) {
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
        let has_gateway = self.gateway.is_some();
        Arc::new(move || {
            let gateway = gateway.borrow();
            Status::of(&node, &readings.borrow(), &firewall.borrow(), has_gateway.then_some(&*gateway))
        })
    }
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
