//! A router in memory that behaves as rpcd, netifd, `wg` and `ip` do, and fails where a test wants it to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use rhyzome_openwrt::render::{PACKAGES, package_name};
use serde_json::{Map, Value, json};
use ubus::{RpcCode, SessionId, Status, Ubus, UbusError};
use uci::{Change, Config, Edit, OptionName, Package, Record, SectionName, SectionType, Values};

/// The configuration of a router without networks of ours.
pub const INITIAL: [(&str, &str); 3] = [
    (
        "network",
        "\nconfig interface 'wan'\n\toption proto 'static'\n\toption device 'eth1'\n\toption ipaddr '203.0.113.2'\n\
         \toption netmask '255.255.255.0'\n\n",
    ),
    ("dhcp", "\nconfig dnsmasq 'main'\n\toption domain 'lan'\n\n"),
    (
        "firewall",
        "\nconfig defaults\n\toption forward 'REJECT'\n\nconfig zone\n\toption name 'wan'\n\tlist network 'wan'\n\n",
    ),
];

#[derive(Default)]
pub struct ScriptedRouter(Mutex<State>);

/// What a test may look at and change.
#[derive(Default)]
pub struct State {
    pub config: Config,
    /// Somebody else's change waits for its confirmation.
    pub busy: bool,
    /// No call gets through.
    pub unreachable: bool,
    /// Interfaces that do not come up.
    pub broken: BTreeSet<String>,
    /// Instances of dnsmasq that do not start.
    pub silent: BTreeSet<String>,
    /// What it runs; 24.10.1 where nothing is said.
    pub release: Option<&'static str>,
    /// How many applies came.
    pub applies: usize,
    /// The commands that changed something.
    pub commands: Vec<String>,
    /// The allowed address of each peer, by device and key.
    pub peers: BTreeMap<String, BTreeMap<String, String>>,
    routes: BTreeSet<(String, String)>,
    /// What dnsmasq was started with last, and how often it was.
    dhcp: (String, u32),
    sessions: BTreeMap<String, Session>,
    pending: Option<(String, Config)>,
    logins: u32,
}

#[derive(Default)]
struct Session {
    staged: Vec<Change>,
    records: BTreeMap<String, Vec<Value>>,
}

type Answer = Result<Option<Value>, Status>;

impl ScriptedRouter {
    pub fn new() -> Self {
        let package = |(name, text): &(&str, &str)| Package::parse(package_name(name), text).unwrap();
        let config = INITIAL.iter().map(package).collect();
        Self(Mutex::new(State { config, ..State::default() }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The packages as files.
    pub fn files(&self) -> Vec<String> {
        let state = self.state();
        PACKAGES.iter().map(|name| state.config.get(name).unwrap().to_string()).collect()
    }
}

#[async_trait]
impl Ubus for ScriptedRouter {
    async fn call(&self, sid: &SessionId, object: &str, method: &str, args: Value) -> Result<Option<Value>, UbusError> {
        let (object, method) = (object.to_owned(), method.to_owned());
        let mut state = self.state();
        if state.unreachable {
            return Err(UbusError::Transport { object, method, source: "no route to host".into() });
        }
        let known = state.sessions.contains_key(sid.reveal()) || (object == "session" && method == "login");
        if !known {
            let (code, message) = (RpcCode::AccessDenied, String::new());
            return Err(UbusError::Rpc { object, method, code, message });
        }
        let answer = match (object.as_str(), method.as_str()) {
            ("session", "login") => Ok(Some(state.login())),
            ("session", "destroy") => {
                state.sessions.remove(sid.reveal());
                Ok(None)
            }
            ("uci", method) => state.uci(sid.reveal(), method, &args),
            ("system", "board") => Ok(Some(state.board())),
            ("network.interface", "dump") => Ok(Some(state.dump())),
            ("service", "list") => Ok(Some(state.services())),
            ("file", "exec") => Ok(Some(state.exec(&args))),
            _ => Err(Status::MethodNotFound),
        };
        answer.map_err(|status| UbusError::Status { object, method, status })
    }
}

impl State {
    fn board(&self) -> Value {
        let version = self.release.unwrap_or("24.10.1");
        json!({"model": "Scripted", "system": "none", "release": {"distribution": "OpenWrt", "version": version}})
    }

    fn login(&mut self) -> Value {
        self.logins += 1;
        let sid = format!("{:032x}", self.logins);
        self.sessions.insert(sid.clone(), Session::default());
        json!({"ubus_rpc_session": sid, "timeout": 300, "expires": 300, "acls": acls()})
    }

    fn uci(&mut self, sid: &str, method: &str, args: &Value) -> Answer {
        let name = args["config"].as_str().unwrap_or_default().to_owned();
        let refused = self.busy || self.pending.is_some();
        match method {
            "get" => Ok(Some(json!({"values": values(self.seen(sid).get(&name).ok_or(Status::NotFound)?)}))),
            "changes" if name.is_empty() => {
                let records: Map<_, _> =
                    self.sessions[sid].records.iter().map(|(name, records)| (name.clone(), json!(records))).collect();
                Ok(Some(json!({"changes": records})))
            }
            "changes" => {
                Ok(Some(json!({"changes": self.sessions[sid].records.get(&name).cloned().unwrap_or_default()})))
            }
            "add" | "set" | "delete" => self.stage(sid, method, args),
            "revert" if refused => Err(Status::PermissionDenied),
            "revert" => {
                let session = self.sessions.get_mut(sid).unwrap();
                session.staged.retain(|change| change.config.as_str() != name);
                session.records.remove(&name);
                Ok(None)
            }
            "apply" if refused => Err(Status::PermissionDenied),
            "apply" => {
                assert_eq!(args["rollback"], json!(true), "never without a way back");
                let before = self.config.clone();
                self.config = self.seen(sid);
                self.sessions.insert(sid.to_owned(), Session::default());
                self.pending = Some((sid.to_owned(), before));
                self.applies += 1;
                self.follow();
                Ok(None)
            }
            "confirm" => self.pending.take().map(|_| None).ok_or(Status::NoData),
            "rollback" => {
                let (_, before) = self.pending.take().ok_or(Status::NoData)?;
                self.config = before;
                self.follow();
                Ok(None)
            }
            _ => Err(Status::MethodNotFound),
        }
    }

    /// The configuration with what a session staged.
    fn seen(&self, sid: &str) -> Config {
        let mut config = self.config.clone();
        for change in &self.sessions[sid].staged {
            uci::apply(config.get_mut(change.config.as_str()).unwrap(), std::slice::from_ref(change)).unwrap();
        }
        config
    }

    fn stage(&mut self, sid: &str, method: &str, args: &Value) -> Answer {
        let change = Change { config: package_name(args["config"].as_str().unwrap()), edit: edit(method, args) };
        let mut config = self.seen(sid);
        let package = config.get_mut(change.config.as_str()).ok_or(Status::NotFound)?;
        let written = uci::apply(package, std::slice::from_ref(&change)).map_err(|_| Status::NotFound)?;
        let session = self.sessions.get_mut(sid).unwrap();
        session.records.entry(change.config.to_string()).or_default().extend(written.iter().map(record));
        session.staged.push(change);
        Ok((method == "add").then(|| json!({"section": args["name"]})))
    }

    fn services(&self) -> Value {
        let (_, starts) = self.dhcp;
        let instance = |section: &uci::Section| {
            let name = section.name().to_string();
            let running = !self.silent.contains(&name);
            (name, if running { json!({"running": true, "pid": 100 + starts}) } else { json!({"running": false}) })
        };
        let instances = self.config.get("dhcp").unwrap().of_kind("dnsmasq").map(instance);
        json!({"dnsmasq": {"instances": instances.collect::<Map<_, _>>()}})
    }

    /// What procd does: dnsmasq starts anew where its configuration changed. What netifd does: interfaces come with their peers and go; the peers of one that stays it leaves alone.
    fn follow(&mut self) {
        let dhcp = self.config.get("dhcp").unwrap().to_string();
        if self.dhcp.0 != dhcp {
            self.dhcp = (dhcp, self.dhcp.1 + 1);
        }
        let network = self.config.get("network").unwrap();
        let wireguard = |section: &&uci::Section| section.text("proto") == Some("wireguard");
        let names: BTreeSet<String> =
            network.of_kind("interface").filter(wireguard).map(|section| section.name().to_string()).collect();
        self.peers.retain(|device, _| names.contains(device));
        for device in names {
            if self.peers.contains_key(&device) {
                continue;
            }
            let table = network.section(&device).unwrap().text("ip4table").unwrap().to_owned();
            let mut peers = BTreeMap::new();
            for peer in network.of_kind(&format!("wireguard_{device}")) {
                let address = peer.get("allowed_ips").unwrap().items()[0].clone();
                self.routes.insert((table.clone(), address.trim_end_matches("/32").to_owned()));
                peers.insert(peer.text("public_key").unwrap().to_owned(), address);
            }
            self.peers.insert(device, peers);
        }
    }

    fn dump(&self) -> Value {
        let network = self.config.get("network").unwrap();
        let interface = |section: &uci::Section| {
            let name = section.name().as_str();
            if self.broken.contains(name) {
                return json!({"interface": name, "up": false, "errors": [{"subsystem": "interface", "code": "NO_DEVICE"}]});
            }
            let mask = |section: &uci::Section| {
                let mask: std::net::Ipv4Addr = section.text("netmask")?.parse().ok()?;
                Some(u32::from(mask).leading_ones())
            };
            let address = section.text("ipaddr").map(|address| json!({"address": address, "mask": mask(section)}));
            json!({"interface": name, "up": true, "ipv4-address": address.into_iter().collect::<Vec<_>>()})
        };
        json!({"interface": network.of_kind("interface").map(interface).collect::<Vec<_>>()})
    }

    fn exec(&mut self, args: &Value) -> Value {
        let words: Vec<&str> = args["params"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let done = json!({"code": 0});
        match (args["command"].as_str().unwrap(), words.as_slice()) {
            ("/usr/bin/wg", ["show", device, "allowed-ips"]) => match self.peers.get(*device) {
                Some(peers) => {
                    let lines: String = peers.iter().map(|(key, address)| format!("{key}\t{address}\n")).collect();
                    json!({"code": 0, "stdout": lines})
                }
                None => json!({"code": 1, "stderr": "Unable to access interface: No such device\n"}),
            },
            ("/sbin/ip", ["-4", "route", "show", "table", table]) => {
                let lines = self.routes.iter().filter(|(other, _)| other == table);
                json!({"code": 0, "stdout": lines.map(|(_, target)| format!("{target} dev x\n")).collect::<String>()})
            }
            ("/usr/sbin/nft", ["list", "chain", "inet", "fw4", chain]) => {
                let firewall = self.config.get("firewall").unwrap();
                let there = firewall
                    .of_kind("zone")
                    .any(|zone| Some(*chain) == zone.text("name").map(|name| format!("input_{name}")).as_deref());
                json!({"code": if there { 0 } else { 1 }})
            }
            (program, words) => {
                self.commands.push(format!("{program} {}", words.join(" ")));
                self.change(words);
                done
            }
        }
    }

    fn change(&mut self, words: &[&str]) {
        match words {
            ["set", device, "peer", key, "remove"] => drop(self.peers.get_mut(*device).unwrap().remove(*key)),
            ["set", device, "peer", key, "allowed-ips", address] => {
                self.peers.get_mut(*device).unwrap().insert((*key).to_owned(), (*address).to_owned());
            }
            ["-4", "route", "del", target, "dev", _, "table", table] => {
                assert!(self.routes.remove(&((*table).to_owned(), target.trim_end_matches("/32").to_owned())));
            }
            ["-4", "route", "replace", target, "dev", _, "table", table] => {
                self.routes.insert(((*table).to_owned(), target.trim_end_matches("/32").to_owned()));
            }
            other => panic!("a command that this router does not know: {other:?}"),
        }
    }
}

/// The rights that `acl/rhyzome.json` gives, as a login tells them.
fn acls() -> Value {
    let file: Value = serde_json::from_str(include_str!("../../acl/rhyzome.json")).unwrap();
    let group = &file["rhyzome"];
    let mut ubus: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut uci: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for right in ["read", "write"] {
        for (object, methods) in group[right]["ubus"].as_object().unwrap() {
            ubus.entry(object.clone()).or_default().extend(methods.as_array().unwrap().iter().cloned());
        }
        for package in group[right]["uci"].as_array().unwrap() {
            uci.entry(package.as_str().unwrap().to_owned()).or_default().push(right);
        }
    }
    json!({"ubus": ubus, "uci": uci})
}

fn values(package: &Package) -> Value {
    let section = |(index, section): (usize, &uci::Section)| {
        let mut told = Map::new();
        told.insert(".anonymous".to_owned(), json!(section.is_anonymous()));
        told.insert(".type".to_owned(), json!(section.kind().as_str()));
        told.insert(".name".to_owned(), json!(section.name().as_str()));
        told.insert(".index".to_owned(), json!(index));
        for (option, value) in section.options() {
            let value = value.as_str().map_or_else(|| json!(value.items()), |text| json!(text));
            told.insert(option.to_string(), value);
        }
        (section.name().to_string(), Value::Object(told))
    };
    Value::Object(package.sections().enumerate().map(section).collect())
}

fn edit(method: &str, args: &Value) -> Edit {
    let name = |key: &str| SectionName::new(args[key].as_str().unwrap()).unwrap();
    let values = || -> Values {
        let value = |value: &Value| match value {
            Value::String(text) => uci::Value::from(text.as_str()),
            Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
            other => panic!("a value of UCI: {other}"),
        };
        let values = args["values"].as_object().unwrap().iter();
        values.map(|(option, told)| (OptionName::new(option.as_str()).unwrap(), value(told))).collect()
    };
    match method {
        "add" => {
            let kind = SectionType::new(args["type"].as_str().unwrap()).unwrap();
            Edit::Add { kind, name: name("name"), values: values() }
        }
        "set" => Edit::Set { section: name("section"), values: values() },
        _ => match args["options"].as_array() {
            Some(options) => {
                let option = |option: &Value| OptionName::new(option.as_str().unwrap()).unwrap();
                Edit::DeleteOptions { section: name("section"), options: options.iter().map(option).collect() }
            }
            None => Edit::DeleteSection { section: name("section") },
        },
    }
}

fn record(record: &Record) -> Value {
    match record {
        Record::Section { section, kind } => json!(["set", section.as_str(), kind.as_str()]),
        Record::Option { section, option, text } => json!(["set", section.as_str(), option.as_str(), text]),
        Record::Item { section, option, item } => json!(["list-add", section.as_str(), option.as_str(), item]),
        Record::RemovedSection { section } => json!(["remove", section.as_str()]),
        Record::RemovedOption { section, option } => json!(["remove", section.as_str(), option.as_str()]),
        other => panic!("a record that no change of ours makes: {other:?}"),
    }
}
