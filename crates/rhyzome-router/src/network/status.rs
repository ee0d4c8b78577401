//! What has become of the interfaces, as netifd tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::observed::Observed;
use super::plan::{Interface, Plan, Proto, Route, Trouble};
use super::reconcile::bridge_exists;
use crate::json::{Json, Members, object};

/// The state of every interface.
#[derive(Clone, Debug, Default)]
pub struct Status {
    interfaces: BTreeMap<String, State>,
}

/// The state of one interface.
#[derive(Clone, Debug)]
pub struct State {
    interface: Interface,
    /// Why it is not up, or since when it is.
    condition: Condition,
    device_is_there: bool,
    /// Whether it comes up by itself and was not switched off.
    autostart: bool,
}

/// Whether an interface is up.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Up since this moment of the router's clock.
    Up(Duration),
    /// Not meant to be up.
    Off,
    /// Meant to be up, and it cannot.
    Failed(Trouble),
}

impl Status {
    /// The state that follows from what is asked for and what there is; interfaces that were up as they are keep the
    /// moment at which they came up.
    #[must_use]
    pub fn new(
        plan: &Plan,
        off: &BTreeSet<String>,
        observed: &Observed,
        failed: &BTreeMap<String, Trouble>,
        before: &Status,
        now: Duration,
    ) -> Self {
        let interfaces = plan.interfaces.iter().map(|(name, interface)| {
            let there = device_is_there(plan, observed, name, interface);
            let condition = match (&interface.addressing, failed.get(name)) {
                _ if off.contains(name) => Condition::Off,
                _ if !there => Condition::Failed(Trouble::NO_DEVICE),
                (Err(trouble), _) | (Ok(_), Some(trouble)) => Condition::Failed(trouble.clone()),
                (Ok(_), None) => match before.interfaces.get(name) {
                    Some(State { interface: old, condition: up @ Condition::Up(_), .. }) if old == interface => {
                        up.clone()
                    }
                    _ => Condition::Up(now),
                },
            };
            let state = State {
                interface: interface.clone(),
                condition,
                device_is_there: there,
                autostart: !off.contains(name),
            };
            (name.clone(), state)
        });
        Status { interfaces: interfaces.collect() }
    }

    /// The names of the interfaces.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.interfaces.keys().cloned().collect()
    }

    /// Whether an interface is up.
    #[must_use]
    pub fn is_up(&self, name: &str) -> bool {
        self.interfaces.get(name).is_some_and(|state| matches!(state.condition, Condition::Up(_)))
    }

    /// `network.interface dump`.
    #[must_use]
    pub fn dump(&self, now: Duration) -> Members {
        let all = self.interfaces.iter().map(|(name, state)| {
            let mut members = vec![("interface".to_owned(), Json::from(name.as_str()))];
            members.extend(state.to_members(name, now));
            Json::Object(members)
        });
        vec![("interface".to_owned(), Json::Array(all.collect()))]
    }

    /// `network.interface.NAME status`.
    #[must_use]
    pub fn show(&self, name: &str, now: Duration) -> Option<Members> {
        Some(self.interfaces.get(name)?.to_members(name, now))
    }
}

fn device_is_there(plan: &Plan, observed: &Observed, name: &str, interface: &Interface) -> bool {
    let Some(device) = interface.l3_device(name) else { return false };
    match (&interface.proto, plan.bridges.get(device)) {
        // The device comes with the interface.
        (Proto::WireGuard(_), _) => true,
        (_, Some(bridge)) => bridge_exists(bridge, observed),
        (_, None) => observed.links.contains_key(device),
    }
}

impl State {
    fn to_members(&self, name: &str, now: Duration) -> Members {
        let is_up = matches!(self.condition, Condition::Up(_));
        let mut members: Members = Vec::new();
        let mut put = |name: &str, value: Json| members.push((name.to_owned(), value));
        put("up", is_up.into());
        put("pending", false.into());
        put("available", self.device_is_there.into());
        put("autostart", self.autostart.into());
        put("dynamic", false.into());
        if let Condition::Up(since) = self.condition {
            put("uptime", now.saturating_sub(since).as_secs().into());
            if let Some(device) = self.interface.l3_device(name) {
                put("l3_device", device.into());
            }
        }
        let proto = match self.interface.proto {
            Proto::None => "none",
            Proto::Static => "static",
            Proto::WireGuard(_) => "wireguard",
            Proto::Vxlan(_) => "vxlan",
        };
        put("proto", proto.into());
        if let Some(device) = &self.interface.device {
            put("device", device.as_str().into());
        }
        if is_up {
            self.addressing(&mut put);
        }
        put("data", object([]));
        if let Condition::Failed(trouble) = &self.condition {
            put("errors", Json::Array(vec![trouble.to_json()]));
        }
        members
    }

    fn addressing(&self, put: &mut impl FnMut(&str, Json)) {
        let addressing = self.interface.addressing.clone().unwrap_or_default();
        let mut updated = Vec::new();
        if !addressing.addresses.is_empty() {
            updated.push("addresses");
        }
        if !addressing.routes.is_empty() {
            updated.push("routes");
        }
        if !updated.is_empty() {
            put("updated", updated.into());
        }
        let addresses = |is_wanted: fn(&IpAddr) -> bool| -> Json {
            let wanted = addressing.addresses.iter().filter(|address| is_wanted(&address.addr()));
            Json::Array(wanted.map(address_json).collect())
        };
        let none = || Json::Array(Vec::new());
        put("metric", self.interface.metric.into());
        put("dns_metric", 0_u32.into());
        put("delegation", true.into());
        put("ipv4-address", addresses(IpAddr::is_ipv4));
        put("ipv6-address", addresses(IpAddr::is_ipv6));
        put("ipv6-prefix", none());
        put("ipv6-prefix-assignment", none());
        put("route", Json::Array(addressing.routes.iter().map(route_json).collect()));
        let servers: Vec<String> = self.interface.dns.iter().map(ToString::to_string).collect();
        put("dns-server", servers.into());
        put("dns-search", none());
        put("neighbors", none());
        let inactive = ["ipv4-address", "ipv6-address", "route", "dns-server", "dns-search", "neighbors"];
        put("inactive", Json::Object(inactive.map(|name| (name.to_owned(), none())).to_vec()));
    }
}

fn address_json(address: &IpNet) -> Json {
    object([("address", address.addr().to_string().into()), ("mask", u32::from(address.prefix_len()).into())])
}

fn route_json(route: &Route) -> Json {
    let any = if route.target.addr().is_ipv4() { "0.0.0.0" } else { "::" };
    let nexthop = route.gateway.map_or_else(|| any.to_owned(), |gateway| gateway.to_string());
    let mut members = vec![
        ("target".to_owned(), Json::from(route.target.addr().to_string())),
        ("mask".to_owned(), u32::from(route.target.prefix_len()).into()),
        ("nexthop".to_owned(), nexthop.into()),
    ];
    if route.metric != 0 {
        members.push(("metric".to_owned(), route.metric.into()));
    }
    if let Some(table) = route.table.as_ref().and_then(|table| table.parse::<u32>().ok()) {
        members.push(("table".to_owned(), table.into()));
    }
    members.push(("source".to_owned(), format!("{any}/0").into()));
    Json::Object(members)
}
