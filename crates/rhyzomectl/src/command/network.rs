//! `rhyzomectl network`.

use anyhow::Context;
use api::network::{Dhcp, Dns, Isolation};
use api::{Instance, Network, NetworkCreate, NetworkSpec, Page, Reference};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use types::{DomainName, HostAddr, Mtu, NetworkId, ParseError, ResourceName, Subnet};

use super::resource::{self, Deletion, Listing, NewTags, Renewal, Wait};
use crate::access::Access;
use crate::progress;
use crate::session::Session;
use crate::value::{AddressRange, Choice, lease_seconds};

type Which = Reference<NetworkId>;

/// What can be done with networks.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a network
    Create(Box<Create>),
    /// List networks
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Show a network
    #[command(visible_alias = "show")]
    Get {
        /// Name or id
        network: Which,
    },
    /// Change a network
    Update(Box<Update>),
    /// Delete networks
    #[command(visible_alias = "rm")]
    Delete {
        /// Names or ids
        #[arg(required = true)]
        networks: Vec<Which>,
        #[command(flatten)]
        deletion: Deletion,
    },
}

/// A network to make.
#[derive(Args, Debug)]
pub struct Create {
    /// Its name
    name: ResourceName,
    #[command(flatten)]
    spec: SpecFlags,
    #[command(flatten)]
    tags: NewTags,
    #[command(flatten)]
    wait: Wait,
}

/// A network to change.
#[derive(Args, Debug)]
pub struct Update {
    /// Name or id
    network: Which,
    #[command(flatten)]
    renewal: Renewal,
    #[command(flatten)]
    spec: SpecFlags,
    #[command(flatten)]
    wait: Wait,
}

/// Every field of a network's spec. What is left out the server chooses, or leaves as it is; `auto` lets it choose again.
#[derive(Args, Debug, Default)]
struct SpecFlags {
    /// The addresses, as in 10.77.0.0/24 [a free one of the server's pool]
    #[arg(long)]
    subnet: Option<Subnet>,
    /// The router's address [the subnet's first]
    #[arg(long, value_name = "ADDRESS")]
    router_address: Option<HostAddr>,
    /// The largest packet in bytes [1500]
    #[arg(long, value_name = "BYTES", value_parser = mtu)]
    mtu: Option<Mtu>,
    /// Addresses for machines that are no instances, as in 10.77.0.10-10.77.0.100, or auto
    #[arg(long, value_name = "FROM-TO")]
    dhcp_range: Option<Choice<AddressRange>>,
    /// Give addresses to instances only
    #[arg(long, conflicts_with = "dhcp_range")]
    no_dhcp: bool,
    /// Give addresses to machines that are no instances [so it is]
    #[arg(long, conflicts_with = "no_dhcp")]
    dhcp: bool,
    /// How long a lease lasts [12h]
    #[arg(long, value_name = "TIME", value_parser = lease_seconds)]
    lease_time: Option<u32>,
    /// Where instances' names live, or auto [<network>.internal]
    #[arg(long, value_name = "DOMAIN")]
    dns_domain: Option<Choice<DomainName>>,
    /// A server to ask for all other names, up to four times, or auto [the router's own]
    #[arg(long = "dns-server", value_name = "ADDRESS")]
    dns_servers: Vec<Choice<HostAddr>>,
    /// What its machines may reach outside [internet]
    #[arg(long)]
    isolation: Option<Reach>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reach {
    /// Public addresses
    Internet,
    /// Everything that the router reaches
    Open,
    /// Nothing
    Closed,
}

impl From<Reach> for Isolation {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Internet => Self::Internet,
            Reach::Open => Self::Open,
            Reach::Closed => Self::Closed,
        }
    }
}

fn mtu(text: &str) -> Result<Mtu, ParseError> {
    let refuse = || ParseError::new(text, "an MTU (576 to 9216)");
    Mtu::try_from(text.parse::<i64>().map_err(|_| refuse())?).map_err(|_| refuse())
}

impl SpecFlags {
    /// The spec of a network to make.
    fn spec(self) -> NetworkSpec {
        let usual = NetworkSpec::default();
        NetworkSpec {
            subnet: self.subnet,
            router_address: self.router_address,
            mtu: self.mtu.unwrap_or(usual.mtu),
            dhcp: Dhcp {
                enabled: !self.no_dhcp,
                range: self.dhcp_range.and_then(Choice::chosen).map(|range| range.0),
                lease_seconds: self.lease_time.unwrap_or(usual.dhcp.lease_seconds),
            },
            dns: Dns {
                domain: self.dns_domain.and_then(Choice::chosen),
                servers: self.dns_servers.into_iter().filter_map(Choice::chosen).collect(),
            },
            isolation: self.isolation.map_or(usual.isolation, Isolation::from),
        }
    }

    /// A merge patch of the fields that were given.
    fn patch(self) -> Map<String, Value> {
        let mut dhcp = Map::new();
        if self.dhcp || self.no_dhcp {
            dhcp.insert("enabled".to_owned(), json!(self.dhcp));
        }
        if let Some(range) = self.dhcp_range {
            dhcp.insert("range".to_owned(), json!(range.chosen().map(|range| range.0)));
        }
        insert(&mut dhcp, "lease_seconds", self.lease_time);
        let mut dns = Map::new();
        if let Some(domain) = self.dns_domain {
            dns.insert("domain".to_owned(), json!(domain.chosen()));
        }
        if !self.dns_servers.is_empty() {
            let servers: Vec<HostAddr> = self.dns_servers.into_iter().filter_map(Choice::chosen).collect();
            dns.insert("servers".to_owned(), json!(servers));
        }
        let mut spec = Map::new();
        insert(&mut spec, "subnet", self.subnet);
        insert(&mut spec, "router_address", self.router_address);
        insert(&mut spec, "mtu", self.mtu);
        insert(&mut spec, "dhcp", Some(dhcp).filter(|dhcp| !dhcp.is_empty()));
        insert(&mut spec, "dns", Some(dns).filter(|dns| !dns.is_empty()));
        insert(&mut spec, "isolation", self.isolation.map(Isolation::from));
        spec
    }
}

fn insert(map: &mut Map<String, Value>, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), json!(value));
    }
}

impl Command {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(listing) => resource::list::<Network>(session, &listing, &[]).await,
            Self::Get { network } => resource::get::<Network>(session, &network).await,
            Self::Update(update) => {
                let patch = update.renewal.patch(update.spec.patch())?;
                resource::update::<Network>(session, &update.network, &patch, update.wait).await
            }
            Self::Delete { networks, deletion } => delete(session, &networks, &deletion).await,
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let context = format!("network {}", self.name);
        let body = NetworkCreate { name: self.name, tags: self.tags.tags(), spec: self.spec.spec() };
        let accepted = session.client.create::<Network>(&body).await.context(context)?;
        resource::accepted_now(session, accepted, self.wait).await
    }
}

/// Deletes networks. The peer that `ssh` made for this machine does not stand in the way: where nothing else does, it
/// leaves the network first.
async fn delete(session: &Session, networks: &[Which], deletion: &Deletion) -> anyhow::Result<()> {
    let doomed = resource::doomed::<Network>(session, networks).await?;
    let deeds: Vec<String> = doomed.iter().map(|(_, deed)| deed.clone()).collect();
    deletion.consent.ask(&deeds)?;
    let own = Access::of(&session.home)?;
    let networks: Vec<Network> = doomed.into_iter().map(|(network, _)| network).collect();
    for network in &networks {
        if has_instances(session, network.id).await? {
            continue;
        }
        if let Some(operation) = own.leave_if_alone(&session.client, network.id).await? {
            progress::follow(&session.client, operation, deletion.wait.timeout).await?;
        }
    }
    for network in resource::delete_now(session, networks, deletion.wait).await? {
        own.forget(network.id).await;
    }
    Ok(())
}

async fn has_instances(session: &Session, network: NetworkId) -> anyhow::Result<bool> {
    let network = network.to_string();
    let first: Page<Instance> = session.client.page(None, &[("network", &network), ("limit", "1")]).await?;
    Ok(!first.items.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_holds_what_was_given_and_no_more() {
        let flags = SpecFlags {
            no_dhcp: true,
            dhcp_range: Some(Choice::Auto),
            dns_servers: vec![Choice::Auto],
            mtu: Some(mtu("1400").unwrap()),
            ..SpecFlags::default()
        };
        let expected = json!({"mtu": 1400, "dhcp": {"enabled": false, "range": null}, "dns": {"servers": []}});
        assert_eq!(Value::Object(flags.patch()), expected);
        assert_eq!(SpecFlags::default().patch(), Map::new());
        assert_eq!(SpecFlags::default().spec(), NetworkSpec::default());
    }
}
