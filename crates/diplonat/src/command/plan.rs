//! `diplonat plan`: looks at everything, and changes nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chain;
use crate::daemon::{place, search};
use crate::exposure::{Exposure, PublicPort, Refused};
use crate::firewall::nft::{Place, Standing, droppers};
use crate::firewall::rules::Rules;
use crate::gateway::actor::Facts;
use crate::gateway::journal::Journal;
use crate::gateway::mapper::Mapper;
use crate::gateway::{Gateway, HomeGateway, Nonce, Refusal};
use crate::settings::Settings;
use crate::source;

/// What was found, and what would be done.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// The gateway, or why there is none.
    pub gateway: Result<Facts, String>,
    /// What would be done about the firewall.
    pub firewall: String,
    /// What would be done about each port at the gateway.
    pub ports: BTreeMap<PublicPort, Intention>,
    /// What was asked for and cannot be had.
    pub refused: Vec<Refused>,
}

/// What would be done about a port.
#[derive(Debug, Serialize)]
pub struct Intention {
    /// Who wants it.
    pub service: String,
    /// The port of this host.
    pub to: u16,
    /// What would be done at the gateway.
    pub gateway: String,
}

/// Looks at everything.
pub async fn make(settings: &Settings) -> anyhow::Result<Plan> {
    let wanted = source::read(&settings.source()?, &settings.published_node()?, &settings.allow_reserved_ports).await?;
    let found = match settings.gateway.enable {
        true => HomeGateway::find(&search(settings)).await.map_err(|error| chain(&error)),
        false => Err("off".to_owned()),
    };
    // Who may not read the journal sees all the same what others have.
    let journal = Journal::open(&settings.state_dir()).unwrap_or_default();
    let mapper = Mapper::new(&settings.node()?, settings.gateway.lease_seconds, journal, || Nonce([0; 12]));
    let mut ports = BTreeMap::new();
    for (port, exposure) in &wanted.ports {
        let gateway = match &found {
            Ok(gateway) => intention(gateway, &mapper, exposure).await,
            Err(_) => "nothing".to_owned(),
        };
        ports.insert(*port, Intention { service: exposure.service.clone(), to: exposure.to.get(), gateway });
    }
    let gateway = match &found {
        Ok(gateway) => Ok(Facts::of(gateway, gateway.pulse().await.ok().and_then(|pulse| pulse.external))),
        Err(error) => Err(error.clone()),
    };
    let firewall = match settings.firewall.enable {
        true => firewall(&place(settings), &Rules::of(wanted.ports.values())).await,
        false => "off".into(),
    };
    Ok(Plan { gateway, firewall, ports, refused: wanted.refused.into_iter().collect() })
}

async fn intention(gateway: &dyn Gateway, mapper: &Mapper, exposure: &Exposure) -> String {
    let dialects = gateway.dialects();
    let ask = dialects.first().map_or_else(|| "nothing".into(), |dialect| format!("ask for it by {dialect}"));
    match gateway.look(exposure.port).await {
        Ok(Some(found)) if mapper.knows(gateway, exposure.port, &found) => "keep it: it is ours".into(),
        Ok(Some(found)) => {
            format!(
                "leave it: it leads to {}:{} (\"{}\"), which is not ours",
                found.client, found.to, found.description
            )
        }
        Ok(None) | Err(Refusal::Unsupported(_)) => ask,
        Err(refusal) => format!("{ask}; {refusal}"),
    }
}

async fn firewall(place: &Place, rules: &Rules) -> String {
    let would = match place.read().await {
        Ok(Standing::Ours(standing)) if standing == *rules => "keep it: our rules are as they are wanted".to_owned(),
        Ok(Standing::Ours(_)) => "change our rules".to_owned(),
        Ok(Standing::Other) => "set up our rules".to_owned(),
        Err(error) => return chain(&error),
    };
    let drops = match place {
        Place::OwnTable => droppers().await.unwrap_or_default(),
        Place::Jump(_) => Vec::new(),
    };
    match drops.is_empty() {
        true => would,
        false => format!("{would}; but {} drops what it does not accept itself (see firewall.jump)", drops.join(", ")),
    }
}

impl Plan {
    /// The plan as people read it.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        match &self.gateway {
            Ok(facts) => {
                let dialects: Vec<_> = facts.dialects.iter().map(ToString::to_string).collect();
                lines.push(format!(
                    "gateway   {} speaks {}; we are {}",
                    facts.address,
                    dialects.join(", "),
                    facts.local
                ));
                lines.push(match (facts.external, facts.is_public) {
                    (Some(address), true) => format!("outside   {address}"),
                    (Some(address), false) => format!(
                        "outside   {address}, which the internet does not know: there is another router before the gateway"
                    ),
                    (None, _) => "outside   unknown".into(),
                });
            }
            Err(error) => lines.push(format!("gateway   {error}")),
        }
        lines.push(format!("firewall  {}", self.firewall));
        for (port, intention) in &self.ports {
            let Intention { service, to, gateway } = intention;
            let port = port.to_string();
            lines.push(format!("{port:<10}{service} on port {to}: {gateway}"));
        }
        for refused in &self.refused {
            lines.push(format!("refused   {}: {}", refused.service, refused.cause));
        }
        lines.join("\n") + "\n"
    }
}
