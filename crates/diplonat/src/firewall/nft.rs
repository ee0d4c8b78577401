//! nftables: our rules in a table of our own, or in a chain of our own to which an existing chain jumps.
//!
//! Everything is replaced in one transaction, so that no packet sees half of it, and read back in JSON.

use std::collections::BTreeSet;
use std::fmt::Write;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::rules::Rules;
use super::tool::{self, ToolError};
use crate::exposure::Transport;

const NFT: &str = "nft";
/// The name of our table, of our chain, and what our sets and rules are called.
const OURS: &str = "diplonat";

/// Where our rules stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In a table of our own, hooked into input.
    #[default]
    OwnTable,
    /// In a chain of our own that this one jumps to.
    Jump(Chain),
}

/// A chain that is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// `inet`, `ip` or `ip6`.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }

    fn has(self, version: Version) -> bool {
        match self {
            Self::Inet => true,
            Self::Ip => version == Version::V4,
            Self::Ip6 => version == Version::V6,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Udp];
const VERSIONS: [(Version, &str, &str); 2] = [(Version::V4, "ip", "ipv4_addr"), (Version::V6, "ip6", "ipv6_addr")];

/// The rules that stand in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None, or not those that we make.
    Other,
    /// Ours, letting through this.
    Ours(Rules),
}

impl Place {
    fn table(&self) -> (Family, &str) {
        match self {
            Self::OwnTable => (Family::Inet, OURS),
            Self::Jump(chain) => (chain.family, &chain.table),
        }
    }

    /// Reads what stands there.
    pub async fn read(&self) -> Result<Standing, ToolError> {
        Ok(self.parse(&self.list().await?)?.0)
    }

    /// Makes `rules` stand there, in one transaction.
    pub async fn replace(&self, rules: &Rules) -> Result<(), ToolError> {
        let (_, traces) = self.parse(&self.list().await?)?;
        tool::run(NFT, &["-f", "-"], &self.script(rules, traces.has_jump)).await.map(drop)
    }

    /// Removes all that is ours.
    pub async fn remove(&self) -> Result<(), ToolError> {
        let (_, traces) = self.parse(&self.list().await?)?;
        let script = self.removal(&traces);
        match script.is_empty() {
            true => Ok(()),
            false => tool::run(NFT, &["-f", "-"], &script).await.map(drop),
        }
    }

    /// Our table in nft's JSON; an empty list where it is not there.
    async fn list(&self) -> Result<Vec<Value>, ToolError> {
        let (family, table) = self.table();
        let tables = objects(&tool::run(NFT, &["-j", "list", "tables"], "").await?)?;
        let is_there = tables.iter().any(|object| {
            let found = &object["table"];
            found["family"] == family.name() && found["name"] == table
        });
        match (is_there, self) {
            (true, _) => objects(&tool::run(NFT, &["-j", "list", "table", family.name(), table], "").await?),
            (false, Self::OwnTable) => Ok(Vec::new()),
            (false, Self::Jump(_)) => Err(ToolError::Failed {
                tool: NFT,
                arguments: format!("list table {} {table}", family.name()),
                said: "there is no such table; firewall.jump names a chain that must be there".into(),
            }),
        }
    }

    fn removal(&self, traces: &Traces) -> String {
        let (family, table) = self.table();
        let family = family.name();
        let mut script = String::new();
        match self {
            Self::OwnTable if traces.has_chain => put(&mut script, format_args!("delete table {family} {table}")),
            Self::OwnTable => {}
            Self::Jump(Chain { chain, .. }) => {
                for handle in &traces.jumps {
                    put(&mut script, format_args!("delete rule {family} {table} {chain} handle {handle}"));
                }
                if traces.has_chain {
                    put(&mut script, format_args!("flush chain {family} {table} {OURS}"));
                    put(&mut script, format_args!("delete chain {family} {table} {OURS}"));
                }
                for set in &traces.sets {
                    put(&mut script, format_args!("delete set {family} {table} {set}"));
                }
            }
        }
        script
    }

    /// The transaction that makes `rules` stand.
    fn script(&self, rules: &Rules, has_jump: bool) -> String {
        let (family, table) = self.table();
        let at = format!("{} {table}", family.name());
        let mut script = String::new();
        match self {
            Self::OwnTable => {
                put(&mut script, format_args!("add table {at}"));
                put(&mut script, format_args!("delete table {at}"));
                put(&mut script, format_args!("add table {at}"));
                let hook = "{ type filter hook input priority filter; policy accept; }";
                put(&mut script, format_args!("add chain {at} {OURS} {hook}"));
            }
            Self::Jump(_) => {
                put(&mut script, format_args!("add chain {at} {OURS}"));
                put(&mut script, format_args!("flush chain {at} {OURS}"));
            }
        }
        for set in sets(family) {
            put(&mut script, format_args!("add set {at} {} {{ {} }}", set.name, set.kind));
            put(&mut script, format_args!("flush set {at} {}", set.name));
            let elements = set.elements(rules);
            if !elements.is_empty() {
                let elements = elements.join(", ");
                put(&mut script, format_args!("add element {at} {} {{ {elements} }}", set.name));
            }
        }
        for (place, rule) in chain(family).iter().enumerate() {
            put(&mut script, format_args!("add rule {at} {OURS} {rule} comment \"{OURS} {place}\""));
        }
        if let Self::Jump(Chain { chain, .. }) = self
            && !has_jump
        {
            put(&mut script, format_args!("insert rule {at} {chain} jump {OURS} comment \"{OURS}\""));
        }
        script
    }

    /// What stands in a table: our rules, where they are whole, and what there is of ours at all.
    fn parse(&self, objects: &[Value]) -> Result<(Standing, Traces), ToolError> {
        let (family, _) = self.table();
        let (mut rules, mut traces, mut comments) = (Rules::default(), Traces::default(), Vec::new());
        for object in objects {
            if object["chain"]["name"] == OURS {
                traces.has_chain = true;
            }
            let rule = &object["rule"];
            let comment = rule["comment"].as_str().unwrap_or_default();
            if rule["chain"] == OURS {
                comments.push(comment.to_owned());
            } else if comment == OURS && rule["expr"][0]["jump"]["target"] == OURS {
                traces.jumps.extend(rule["handle"].as_u64());
            }
            let set = &object["set"];
            if let Some(ours) = sets(family).find(|ours| set["name"] == ours.name) {
                traces.sets.insert(ours.name.clone());
                for element in set["elem"].as_array().into_iter().flatten() {
                    ours.take(element, &mut rules).ok_or_else(|| unreadable(format!("{element} in {}", ours.name)))?;
                }
            }
        }
        traces.has_jump = self == &Self::OwnTable || !traces.jumps.is_empty();
        let expected: Vec<_> = (0..chain(family).len()).map(|place| format!("{OURS} {place}")).collect();
        let is_whole = traces.has_jump && comments == expected && traces.sets.len() == sets(family).count();
        Ok((if is_whole { Standing::Ours(rules) } else { Standing::Other }, traces))
    }
}

/// Chains of others that drop what they do not accept: an accept of ours does not override them.
pub async fn droppers() -> Result<Vec<String>, ToolError> {
    let chains = objects(&tool::run(NFT, &["-j", "list", "chains"], "").await?)?;
    let drops = chains.iter().map(|object| &object["chain"]).filter(|chain| {
        chain["hook"] == "input" && chain["policy"] == "drop" && !(chain["table"] == OURS && chain["family"] == "inet")
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(drops.map(|chain| [&chain["family"], &chain["table"], &chain["name"]].map(text).join(" ")).collect())
}

/// What there is of ours in a table.
#[derive(Debug, Default)]
struct Traces {
    has_chain: bool,
    has_jump: bool,
    jumps: Vec<u64>,
    sets: BTreeSet<String>,
}

/// One of our sets.
struct Set {
    name: String,
    kind: String,
    what: Kind,
    transport: Transport,
}

#[derive(Clone, Copy)]
enum Kind {
    Open,
    Limited,
    From(Version),
}

fn sets(family: Family) -> impl Iterator<Item = Set> {
    TRANSPORTS.into_iter().flat_map(move |transport| {
        let named = |what: &str| format!("{OURS}_{transport}_{what}");
        let plain = |what, name| Set { name: named(name), kind: "type inet_service;".into(), what, transport };
        let mut sets = vec![plain(Kind::Open, "open"), plain(Kind::Limited, "limited")];
        for (version, name, kind) in VERSIONS.into_iter().filter(|(version, ..)| family.has(*version)) {
            let kind = format!("type {kind} . inet_service; flags interval;");
            sets.push(Set { name: named(&format!("from_{name}")), kind, what: Kind::From(version), transport });
        }
        sets
    })
}

/// The rules of our chain. What comes over loopback is nobody's business.
fn chain(family: Family) -> Vec<String> {
    let mut rules = vec!["iif lo return".to_owned()];
    for transport in TRANSPORTS {
        rules.push(format!("{transport} dport @{OURS}_{transport}_open accept"));
        for (_, name, _) in VERSIONS.into_iter().filter(|(version, ..)| family.has(*version)) {
            rules.push(format!("{name} saddr . {transport} dport @{OURS}_{transport}_from_{name} accept"));
        }
        rules.push(format!("{transport} dport @{OURS}_{transport}_limited drop"));
    }
    rules
}

impl Set {
    fn elements(&self, rules: &Rules) -> Vec<String> {
        let ports = |ports: &BTreeSet<(Transport, u16)>| {
            let ports = ports.iter().filter(|(transport, _)| *transport == self.transport);
            ports.map(|(_, port)| port.to_string()).collect()
        };
        match self.what {
            Kind::Open => ports(&rules.open),
            Kind::Limited => ports(&rules.limited),
            Kind::From(version) => {
                let from = rules.from.iter().filter(|(transport, network, _)| {
                    *transport == self.transport && matches!(network, IpNet::V4(_)) == (version == Version::V4)
                });
                from.map(|(_, network, port)| format!("{network} . {port}")).collect()
            }
        }
    }

    /// Takes an element in nft's JSON over; nothing where it cannot be read.
    fn take(&self, element: &Value, rules: &mut Rules) -> Option<()> {
        let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
        match self.what {
            Kind::Open => drop(rules.open.insert((self.transport, port(element)?))),
            Kind::Limited => drop(rules.limited.insert((self.transport, port(element)?))),
            Kind::From(_) => {
                let address = &element["concat"][0];
                let network = match address.as_str() {
                    Some(alone) => IpNet::from(alone.parse::<std::net::IpAddr>().ok()?),
                    None => {
                        let prefix = &address["prefix"];
                        let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
                        IpNet::new(prefix["addr"].as_str()?.parse().ok()?, length).ok()?
                    }
                };
                rules.from.insert((self.transport, network, port(&element["concat"][1])?));
            }
        }
        Some(())
    }
}

fn objects(json: &str) -> Result<Vec<Value>, ToolError> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Value>,
    }
    let listing: Listing = serde_json::from_str(json).map_err(|error| unreadable(error.to_string()))?;
    Ok(listing.nftables)
}

fn unreadable(problem: String) -> ToolError {
    ToolError::Unreadable { tool: NFT, problem }
}

fn put(script: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(script, "{line}").expect("invariant: a text takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposure::Wanted;
    use crate::tag;

    #[test]
    fn the_transaction_replaces_everything() {
        let tag = "(expose (tcp 80) (tcp 443 (from 10.0.0.0/8 fd00::1)) (udp 53))";
        let wanted = Wanted::of([tag::service("web", [tag])], &[].into());
        let rules = Rules::of(wanted.ports.values());
        insta::assert_snapshot!("own_table", Place::OwnTable.script(&rules, true));
        let jump = Place::Jump(Chain { family: Family::Ip, table: "filter".into(), chain: "input".into() });
        insta::assert_snapshot!("jump", jump.script(&rules, false));
    }
}
