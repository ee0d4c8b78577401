//! How everything stands: each port's way from the wish to the outside, and the cause where it stops.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZeroU16;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use types::DomainName;

use crate::dns::DnsReport;
use crate::dns::actor::NameState;
use crate::exposure::{PublicPort, Refused};
use crate::firewall::FirewallReport;
use crate::gateway::actor::{Facts, GatewayReport};
use crate::gateway::mapper::MappingState;
use crate::source::Reading;

/// The whole status, as `/v1/status` gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: String,
    /// The source.
    pub source: SourceStatus,
    /// The gateway; nothing where none is to be asked.
    pub gateway: Option<GatewayStatus>,
    /// The firewall.
    pub firewall: FirewallStatus,
    /// The ports that are wanted.
    pub ports: Vec<PortStatus>,
    /// What was asked for and cannot be had.
    pub refused: Vec<Refused>,
}

/// How it stands with the source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Whether it has ever said what is wanted.
    pub is_known: bool,
    /// What is wrong with it.
    pub trouble: Option<String>,
}

/// How it stands with the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// What is known of it.
    #[serde(flatten)]
    pub facts: Option<Facts>,
    /// What is wrong with it.
    pub trouble: Option<String>,
}

/// How it stands with the firewall.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FirewallStatus {
    /// Whether it is ours to open.
    pub is_enabled: bool,
    /// Why it is not as it is wanted.
    pub trouble: Option<String>,
    /// What others do that may keep packets from us.
    pub warnings: Vec<String>,
}

/// How it stands with a port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortStatus {
    /// The port outside.
    pub port: PublicPort,
    /// Who wants it.
    pub service: String,
    /// The port of this host.
    pub to: NonZeroU16,
    /// Who may reach it; everybody where this is empty.
    pub from: Vec<IpNet>,
    /// Whether the firewall lets it through; nothing where that is not ours to say.
    pub is_open: Option<bool>,
    /// How it stands on the gateway; nothing where none is asked, or it has not been its turn.
    pub mapping: Option<MappingState>,
    /// How it stands with the names that lead to it; nothing where names are not ours to write.
    pub names: Option<BTreeMap<DomainName, NameState>>,
    /// Why it is not reachable, as far as we know.
    pub stops_at: Option<String>,
}

impl Status {
    /// Puts the status together from what all say.
    pub fn of(
        node: &str,
        reading: &Reading,
        firewall: &FirewallReport,
        gateway: Option<&GatewayReport>,
        dns: Option<&DnsReport>,
    ) -> Self {
        let wanted = reading.wanted.clone().unwrap_or_default();
        let ports = wanted.ports.values().map(|exposure| {
            let is_open = firewall.is_enabled.then(|| firewall.open.contains(&exposure.port));
            let mapping = gateway.and_then(|gateway| gateway.ports.get(&exposure.port).cloned());
            let wishes =
                exposure.names.iter().filter_map(|wish| Some((wish.name.clone(), dns?.names.get(&wish.name).cloned())));
            let waiting = || NameState::Failed { cause: "its turn comes".into() };
            let names: BTreeMap<_, _> = wishes.map(|(name, state)| (name, state.unwrap_or_else(waiting))).collect();
            PortStatus {
                port: exposure.port,
                service: exposure.service.clone(),
                to: exposure.to,
                from: exposure.from.iter().copied().collect(),
                stops_at: stop(is_open, firewall, mapping.as_ref(), gateway).or_else(|| nameless(&names)),
                names: dns.is_some().then_some(names),
                is_open,
                mapping,
            }
        });
        Self {
            node: node.to_owned(),
            source: SourceStatus { is_known: reading.wanted.is_some(), trouble: reading.trouble.clone() },
            gateway: gateway.map(|is| GatewayStatus { facts: is.gateway.clone(), trouble: is.trouble.clone() }),
            firewall: FirewallStatus {
                is_enabled: firewall.is_enabled,
                trouble: firewall.trouble.clone(),
                warnings: firewall.warnings.clone(),
            },
            ports: ports.collect(),
            refused: wanted.refused.iter().cloned().collect(),
        }
    }

    /// Whether everything that is wanted, and known to be, has been done.
    pub fn is_ready(&self) -> bool {
        self.source.is_known && self.source.trouble.is_none() && self.ports.iter().all(|port| port.stops_at.is_none())
    }

    /// The status as people read it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, is: String| {
            writeln!(text, "{what:<10}{is}").expect("invariant: a text takes everything");
        };
        let troubled = |good: String, trouble: &Option<String>| match trouble {
            Some(trouble) => format!("{good}; {trouble}"),
            None => good,
        };
        let known = if self.source.is_known { "known" } else { "not known yet: everything stays as it is" };
        line("node", self.node.clone());
        line("source", troubled(known.into(), &self.source.trouble));
        line(
            "gateway",
            match &self.gateway {
                Some(gateway) => troubled(gateway.text(), &gateway.trouble),
                None => "off".into(),
            },
        );
        let firewall = if self.firewall.is_enabled { "on" } else { "off" };
        line("firewall", troubled(firewall.into(), &self.firewall.trouble));
        for warning in &self.firewall.warnings {
            line("", warning.clone());
        }
        for port in &self.ports {
            line(&port.port.to_string(), format!("{} → {}", port.service, port.text()));
        }
        for refused in &self.refused {
            line("refused", format!("{}: {}", refused.service, refused.cause));
        }
        text
    }
}

impl GatewayStatus {
    fn text(&self) -> String {
        let Some(facts) = &self.facts else { return "not found".into() };
        let dialects: Vec<_> = facts.dialects.iter().map(ToString::to_string).collect();
        let outside = match (facts.external, facts.is_public) {
            (Some(address), true) => format!("outside {address}"),
            (Some(address), false) => {
                format!("outside {address}, which the internet does not know: there is another router before it")
            }
            (None, _) => "outside unknown".into(),
        };
        format!("{} ({}), {outside}; we are {}", facts.address, dialects.join(", "), facts.local)
    }
}

impl PortStatus {
    fn text(&self) -> String {
        let from = match self.from.is_empty() {
            true => "everybody".to_owned(),
            false => self.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        let open = match self.is_open {
            Some(true) => "firewall open",
            Some(false) => "firewall closed",
            None => "firewall off",
        };
        let mapping = match &self.mapping {
            Some(MappingState::Mapped { dialect, lease: 0 }) => format!("mapped by {dialect} for ever"),
            Some(MappingState::Mapped { dialect, lease }) => format!("mapped by {dialect} for {lease} s"),
            Some(MappingState::Failed { .. }) | None => "not mapped".into(),
        };
        let is_named = |state: &NameState| matches!(state, NameState::Named { .. });
        let names = self.names.iter().flatten().filter(|(_, state)| is_named(state));
        let names: String = names.map(|(name, _)| format!(", named {name}")).collect();
        let stop = self.stops_at.as_ref().map(|cause| format!("\n          stops at {cause}")).unwrap_or_default();
        format!("port {} for {from}: {open}, {mapping}{names}{stop}", self.to)
    }
}

/// The first name that does not lead here.
fn nameless(names: &BTreeMap<DomainName, NameState>) -> Option<String> {
    names.iter().find_map(|(name, state)| match state {
        NameState::Named { .. } => None,
        NameState::Failed { cause } => Some(format!("DNS: {name}: {cause}")),
    })
}

fn stop(
    is_open: Option<bool>,
    firewall: &FirewallReport,
    mapping: Option<&MappingState>,
    gateway: Option<&GatewayReport>,
) -> Option<String> {
    if is_open == Some(false) {
        let cause = firewall.trouble.clone().unwrap_or_else(|| "its turn comes".into());
        return Some(format!("the firewall: {cause}"));
    }
    let gateway = gateway?;
    match mapping {
        Some(MappingState::Mapped { .. }) => None,
        Some(MappingState::Failed { cause }) => Some(format!("the gateway: {cause}")),
        None => {
            let cause = gateway.trouble.clone().unwrap_or_else(|| "its turn comes".into());
            Some(format!("the gateway: {cause}"))
        }
    }
}
