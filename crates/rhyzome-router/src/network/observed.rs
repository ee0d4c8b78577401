//! What links, addresses and routes there are, as `ip` tells it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::plan::Route;
use super::rule::PolicyRule;
use super::vxlan::VxlanDevice;
use crate::tool::{self, ToolError};

/// The links of a namespace and the routes that were set by hand or by us.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The links, by name.
    pub links: BTreeMap<String, Link>,
    /// The routes that the kernel did not make, with their devices.
    pub routes: Vec<(String, Route)>,
    /// The policy rules that we set.
    pub rules: Vec<PolicyRule>,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// What kind of virtual device it is, if it is one.
    pub kind: Option<String>,
    /// Whether it is switched on.
    pub is_up: bool,
    /// The bridge that it is a port of.
    pub master: Option<String>,
    /// Its MTU.
    pub mtu: u32,
    /// Its MAC address, if it has one.
    pub mac: Option<String>,
    /// What is known of it if it is a VXLAN.
    pub vxlan: Option<VxlanDevice>,
    /// Its addresses, link-local ones left out.
    pub addresses: Vec<IpNet>,
}

/// Looks around in the namespace of this thread.
///
/// # Errors
/// When `ip` fails, or prints what it should not.
pub fn observe() -> Result<Observed, ToolError> {
    let links: Vec<IpLink> = parse(&tool::run("ip", &["-j", "-d", "address", "show"])?)?;
    let mut routes: Vec<(String, Route)> = Vec::new();
    for family in ["-4", "-6"] {
        let listed: Vec<IpRoute> =
            parse(&tool::run("ip", &["-j", family, "route", "show", "table", "all", "proto", "static"])?)?;
        routes.extend(listed.into_iter().filter_map(|route| route.into_route(family)));
    }
    let mut rules = Vec::new();
    for family in ["-4", "-6"] {
        let listed: Vec<IpRule> = parse(&tool::run("ip", &["-j", family, "rule", "show"])?)?;
        rules.extend(listed.into_iter().filter_map(|rule| rule.into_rule(family)));
    }
    Ok(Observed { links: links.into_iter().map(IpLink::into_link).collect(), routes, rules })
}

fn parse<T: for<'de> Deserialize<'de> + Default>(text: &str) -> Result<T, ToolError> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text).map_err(|error| ToolError::Failed {
        program: "ip",
        arguments: "-j".to_owned(),
        message: format!("printed what is not understood: {error}"),
    })
}

#[derive(Deserialize)]
struct IpLink {
    ifname: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    mtu: u32,
    master: Option<String>,
    address: Option<String>,
    #[serde(default)]
    linkinfo: LinkInfo,
    #[serde(default)]
    addr_info: Vec<AddrInfo>,
}

#[derive(Default, Deserialize)]
struct LinkInfo {
    info_kind: Option<String>,
    #[serde(default)]
    info_data: InfoData,
}

/// Of the many things that devices are, those of a VXLAN.
#[derive(Default, Deserialize)]
struct InfoData {
    id: Option<serde_json::Value>,
    port: Option<serde_json::Value>,
    local: Option<serde_json::Value>,
    local6: Option<serde_json::Value>,
    link: Option<serde_json::Value>,
    learning: Option<serde_json::Value>,
}

impl InfoData {
    fn vxlan(&self) -> Option<VxlanDevice> {
        let number = |value: &Option<serde_json::Value>| value.as_ref()?.as_u64();
        let local = self.local.as_ref().or(self.local6.as_ref());
        Some(VxlanDevice {
            vni: number(&self.id)?.try_into().ok()?,
            port: number(&self.port)?.try_into().ok()?,
            local: local.and_then(|local| local.as_str()?.parse().ok()),
            link: self.link.as_ref().and_then(|link| link.as_str()).map(str::to_owned),
            learns: self.learning.as_ref().and_then(serde_json::Value::as_bool).unwrap_or(false),
        })
    }
}

#[derive(Deserialize)]
struct AddrInfo {
    local: Option<IpAddr>,
    prefixlen: Option<u8>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct IpRoute {
    dst: String,
    gateway: Option<IpAddr>,
    dev: Option<String>,
    #[serde(default)]
    metric: u32,
    table: Option<String>,
}

#[derive(Deserialize)]
struct IpRule {
    priority: u32,
    #[serde(default)]
    src: String,
    srclen: Option<u8>,
    dst: Option<String>,
    dstlen: Option<u8>,
    iif: Option<String>,
    oif: Option<String>,
    fwmark: Option<String>,
    fwmask: Option<String>,
    #[serde(default)]
    table: String,
    protocol: Option<String>,
}

impl IpLink {
    fn into_link(self) -> (String, Link) {
        let addresses = self.addr_info.into_iter().filter(|info| info.scope.as_deref() != Some("link"));
        let link = Link {
            vxlan: (self.linkinfo.info_kind.as_deref() == Some("vxlan"))
                .then(|| self.linkinfo.info_data.vxlan())
                .flatten(),
            kind: self.linkinfo.info_kind,
            is_up: self.flags.iter().any(|flag| flag == "UP"),
            master: self.master,
            mtu: self.mtu,
            mac: self.address,
            addresses: addresses.filter_map(|info| IpNet::new(info.local?, info.prefixlen?).ok()).collect(),
        };
        (self.ifname.unwrap_or_default(), link)
    }
}

impl IpRoute {
    fn into_route(self, family: &str) -> Option<(String, Route)> {
        let host = if family == "-4" { 32 } else { 128 };
        let target = match (self.dst.as_str(), family) {
            ("default", "-4") => "0.0.0.0/0".parse().ok()?,
            ("default", _) => "::/0".parse().ok()?,
            (text, _) if text.contains('/') => text.parse().ok()?,
            (text, _) => IpNet::new(text.parse().ok()?, host).ok()?,
        };
        // The kernel gives IPv6 routes a metric where none was asked for.
        let metric = if family == "-6" && self.metric == 1024 { 0 } else { self.metric };
        Some((self.dev?, Route { target, gateway: self.gateway, metric, table: self.table }))
    }
}

impl IpRule {
    fn into_rule(self, family: &str) -> Option<PolicyRule> {
        if self.protocol.as_deref() != Some("static") {
            return None;
        }
        let net = |address: &str, length: Option<u8>| {
            let address: IpAddr = address.parse().ok()?;
            IpNet::new(address, length.unwrap_or(if address.is_ipv4() { 32 } else { 128 })).ok()
        };
        Some(PolicyRule {
            priority: self.priority,
            is_v4: family == "-4",
            from: net(&self.src, self.srclen),
            to: self.dst.and_then(|address| net(&address, self.dstlen)),
            arrives_on: self.iif,
            leaves_by: self.oif,
            mark: match (self.fwmark, self.fwmask) {
                (Some(mark), Some(mask)) => Some(format!("{mark}/{mask}")),
                (mark, _) => mark,
            },
            table: self.table,
        })
    }
}
