//! The thread inside the namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::name_server::NameServers;
use super::{Surroundings, device_json, peer_descriptions, replace_if_other};
use crate::command;
use crate::configs::Configs;
use crate::dnsmasq::{self, Places, Served, UPSTREAM};
use crate::firewall;
use crate::firewall::policy::{Network, Policy};
use crate::json::{Json, Members};
use crate::network::observed::{Observed, observe};
use crate::network::plan::{Interface, Plan, Proto, Trouble, WireGuard};
use crate::network::reconcile::{self, Scope};
use crate::network::status::Status as Interfaces;
use crate::network::vxlan::{self, Vxlan};
use crate::process::Process;
use crate::question::{Question, Target};
use crate::status::{Answer, DONE, Status};
use crate::tool::{self, ToolError};
use crate::wireguard::{self, Tunnels};

/// How long more changes are waited for before the first one is followed.
const GATHER: Duration = Duration::from_millis(10);
/// How often it is looked whether the programs still run.
const ROUND: Duration = Duration::from_secs(1);
/// How often the way to what is asked for is tried before it is left at what was reached: removing one address can take
/// along others, which the next try puts back.
const TRIES: usize = 3;

/// What the thread is told.
pub enum Message {
    /// These configs changed.
    Follow(BTreeSet<String>),
    /// A link came, went or changed.
    Links,
    /// Answer this.
    Ask(Question, oneshot::Sender<Answer>),
    /// End.
    Stop,
}

/// The thread's state.
pub struct Worker {
    surroundings: Surroundings,
    configs: Configs,
    shared: Arc<Mutex<Interfaces>>,
    started: Instant,
    messages: Sender<Message>,
    tunnels: Tunnels,
    /// The WireGuard interfaces as they were last set up. Peers that changed since are not followed until the
    /// interface itself changes, as in OpenWrt.
    set_up: BTreeMap<String, Interface>,
    switched: BTreeMap<String, Target>,
    servers: NameServers,
    /// The last ruleset that was tried, whether nft took it or not.
    ruleset: String,
    monitor: Option<Process>,
}

impl Worker {
    /// The state of a thread that has entered the namespace.
    pub fn new(
        surroundings: Surroundings,
        shared: Arc<Mutex<Interfaces>>,
        started: Instant,
        messages: Sender<Message>,
    ) -> Self {
        for (key, value) in [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")] {
            if let Err(error) = fs::write(Path::new("/proc/sys/net").join(key), value) {
                tracing::warn!(key, %error, "cannot switch on forwarding");
            }
        }
        Worker {
            configs: Configs::new(surroundings.root.config.clone()),
            servers: NameServers::new(&surroundings.run),
            surroundings,
            shared,
            started,
            messages,
            tunnels: Tunnels::default(),
            set_up: BTreeMap::new(),
            switched: BTreeMap::new(),
            ruleset: String::new(),
            monitor: None,
        }
    }

    /// Does what it is told until it is told to end.
    pub fn serve(&mut self, messages: &Receiver<Message>) {
        let mut looked = Instant::now();
        loop {
            self.watch_links();
            let mut is_stale = match messages.recv_timeout(ROUND) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => false,
            };
            if looked.elapsed() >= ROUND {
                looked = Instant::now();
                is_stale |= self.look_after_programs();
            }
            if !is_stale {
                continue;
            }
            let take = |message| {
                self.take(message);
            };
            if gather(messages, take).is_break() {
                return;
            }
            self.converge();
        }
    }

    /// Whether there is something to bring about now.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Follow(_) | Message::Links => true,
            Message::Ask(Question::Switch { interface, to }, reply) => {
                // Who asked may have gone.
                let _ = reply.send(self.switch(interface, to));
                false
            }
            Message::Ask(Question::Services(name), reply) => {
                let _ = reply.send(Ok(Some(self.services(name.as_deref()))));
                false
            }
            Message::Ask(question, reply) => {
                let (root, configs) = (self.surroundings.root.clone(), self.configs.clone());
                // A thread that is made here is inside the namespace, too.
                std::thread::spawn(move || {
                    let answer = match question {
                        Question::Exec(question) => command::run_inside(&root, &question),
                        Question::Device(name) => device(name.as_deref()),
                        Question::WireGuard => {
                            wireguard::instances(&peer_descriptions(&configs)).map(Some).map_err(failed)
                        }
                        _ => Err(Status::NotSupported),
                    };
                    let _ = reply.send(answer);
                });
                false
            }
            Message::Stop => false,
        }
    }

    /// procd's view of the services that are processes.
    fn services(&mut self, name: Option<&str>) -> Members {
        if name.is_some_and(|name| name != "dnsmasq") {
            return Members::new();
        }
        self.servers.describe()
    }

    fn switch(&mut self, interface: String, to: Target) -> Answer {
        if !Plan::of(&self.configs.load_or_empty("network")).interfaces.contains_key(&interface) {
            return Err(Status::NotFound);
        }
        self.set_up.remove(&interface);
        self.switched.insert(interface, to);
        self.converge();
        DONE
    }

    /// Brings about what the configs say.
    pub fn converge(&mut self) {
        let mut plan = Plan::of(&self.configs.load_or_empty("network"));
        let kept = self.keep_tunnels(&mut plan);
        let off = self.off(&plan);
        // Before any interface comes up, so that none is open for a moment.
        self.load_firewall(&plan);
        let failed = self.set_up_tunnels(&plan, &off);
        let observed = self.reconcile(&plan, &off, &kept);
        let interfaces = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            *shared = Interfaces::new(&plan, &off, &observed, &failed, &shared, self.started.elapsed());
            shared.clone()
        };
        self.write_upstream(&plan, &interfaces);
        self.run_servers(&plan, &interfaces);
    }

    /// The interfaces that are not to be up: those that do not start by themselves, and those that were switched off.
    fn off(&mut self, plan: &Plan) -> BTreeSet<String> {
        self.switched.retain(|name, _| plan.interfaces.contains_key(name));
        let is_off = |name: &&String| match self.switched.get(*name) {
            Some(target) => *target == Target::Down,
            None => !plan.interfaces[*name].autostart,
        };
        plan.interfaces.keys().filter(is_off).cloned().collect()
    }

    /// Leaves WireGuard interfaces whose own section did not change as they were set up, and tells which those are.
    fn keep_tunnels(&mut self, plan: &mut Plan) -> BTreeSet<String> {
        let mut kept = BTreeSet::new();
        self.set_up.retain(|name, _| plan.interfaces.contains_key(name));
        for (name, interface) in &mut plan.interfaces {
            let (Proto::WireGuard(wanted), Some(before)) = (&interface.proto, self.set_up.get(name)) else { continue };
            let unchanged = matches!(&before.proto, Proto::WireGuard(old) if old.section == wanted.section);
            if unchanged && self.tunnels.is_running(name) {
                *interface = before.clone();
                kept.insert(name.clone());
            }
        }
        kept
    }

    fn set_up_tunnels(&mut self, plan: &Plan, off: &BTreeSet<String>) -> BTreeMap<String, Trouble> {
        let wanted: Vec<(&str, &Interface, &WireGuard)> = plan
            .interfaces
            .iter()
            .filter(|(name, interface)| !off.contains(*name) && interface.addressing.is_ok())
            .filter_map(|(name, interface)| match &interface.proto {
                Proto::WireGuard(wireguard) => Some((name.as_str(), interface, &**wireguard)),
                Proto::None | Proto::Static | Proto::Vxlan(_) => None,
            })
            .collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _, _)| *name).collect();
        self.set_up.retain(|name, _| names.contains(&name.as_str()));
        let left = observe().map(|observed| {
            let is_tunnel = |kind: &Option<String>| kind.as_deref() == Some("wireguard");
            let links = observed.links.into_iter().filter(move |(_, link)| is_tunnel(&link.kind));
            links.map(|(name, _)| name).collect::<Vec<_>>()
        });
        self.tunnels.retain(&names, left.unwrap_or_default().into_iter());

        let mut failed = BTreeMap::new();
        for (name, interface, wireguard) in wanted {
            if self.set_up.get(name) == Some(interface) && self.tunnels.is_running(name) {
                continue;
            }
            match self.tunnels.set_up(wireguard) {
                Ok(()) => drop(self.set_up.insert(name.to_owned(), interface.clone())),
                Err(error) => {
                    tracing::warn!(interface = name, %error, "a WireGuard interface does not come up");
                    failed.insert(name.to_owned(), error.trouble());
                }
            }
        }
        failed
    }

    fn reconcile(&mut self, plan: &Plan, off: &BTreeSet<String>, kept: &BTreeSet<String>) -> Observed {
        let scope = Scope { off, kept, seed: self.surroundings.namespace.name() };
        let mut observed = Observed::default();
        for _ in 0..TRIES {
            observed = match observe() {
                Ok(observed) => observed,
                Err(error) => {
                    tracing::error!(%error, "cannot look at the links");
                    return observed;
                }
            };
            let steps = reconcile::steps(plan, &scope, &observed);
            if steps.is_empty() {
                break;
            }
            let lines = steps.join("\n") + "\n";
            if let Err(error) = tool::run_with("ip", &["-force", "-batch", "-"], &lines) {
                tracing::warn!(%error, "not every address or route could be set");
            }
        }
        for (name, vxlan) in reconcile::overlays(plan, off).filter(|(name, _)| observed.links.contains_key(*name)) {
            if let Err(error) = flood(name, vxlan) {
                tracing::warn!(interface = name, %error, "a VXLAN does not reach all of its peers");
            }
        }
        for device in plan.without_ipv6.iter().filter(|device| observed.links.contains_key(*device)) {
            switch_off_ipv6(device);
        }
        observed
    }

    fn load_firewall(&mut self, plan: &Plan) {
        let networks = plan.interfaces.iter().map(|(name, interface)| {
            let addresses = interface.addressing.as_ref().map(|addressing| addressing.addresses.clone());
            let device = interface.l3_device(name).map(str::to_owned);
            (name.clone(), Network { device, addresses: addresses.unwrap_or_default() })
        });
        let policy = Policy::of(&self.configs.load_or_empty("firewall"), &networks.collect());
        let ruleset = firewall::render::render(&policy);
        if ruleset == self.ruleset {
            return;
        }
        if let Err(error) = firewall::load(&ruleset) {
            tracing::warn!(%error, "nft refuses the new ruleset, the old one stays");
        }
        self.ruleset = ruleset;
    }

    /// Writes down the name servers of the interfaces that are up.
    fn write_upstream(&self, plan: &Plan, interfaces: &Interfaces) {
        let up = plan.interfaces.iter().filter(|(name, _)| interfaces.is_up(name));
        let servers = up.flat_map(|(_, interface)| interface.dns.iter());
        let text: String = servers.map(|server| format!("nameserver {server}\n")).collect();
        if let Err(error) = replace_if_other(&self.surroundings.root.place(UPSTREAM), &text) {
            tracing::warn!(%error, "cannot write the upstream name servers");
        }
    }

    fn run_servers(&mut self, plan: &Plan, interfaces: &Interfaces) {
        let up = plan.interfaces.iter().filter(|(name, _)| interfaces.is_up(name));
        let served = up.filter_map(|(name, interface)| {
            let addresses = interface.addressing.as_ref().ok()?.addresses.clone();
            Some((name.clone(), Served { device: interface.l3_device(name)?.to_owned(), addresses }))
        });
        let places = Places { hosts: self.servers.hosts().to_owned(), root: self.surroundings.root.clone() };
        let wanted = dnsmasq::instances(&self.configs.load_or_empty("dhcp"), &served.collect(), &places);
        self.servers.follow(wanted);
    }

    /// Starts again what has ended; whether there is something to bring about.
    fn look_after_programs(&mut self) -> bool {
        self.servers.look_after();
        let set_up: Vec<String> = self.set_up.keys().cloned().collect();
        set_up.iter().any(|name| !self.tunnels.is_running(name))
    }

    /// Listens for links that come and go, if nobody does.
    fn watch_links(&mut self) {
        if self.monitor.as_mut().is_some_and(Process::is_running) {
            return;
        }
        let mut monitor = match Process::start("ip", &["-o", "monitor", "link"], Stdio::piped()) {
            Ok(monitor) => monitor,
            Err(error) => return tracing::error!(%error, "cannot watch the links"),
        };
        if let Some(output) = monitor.take_output() {
            let messages = self.messages.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines() {
                    if line.is_err() || messages.send(Message::Links).is_err() {
                        return;
                    }
                }
            });
        }
        self.monitor = Some(monitor);
        // What happened before somebody listened.
        let _ = self.messages.send(Message::Links);
    }
}

/// Takes messages for a moment, however many there are; breaks when there is one to stop.
fn gather(messages: &Receiver<Message>, mut take: impl FnMut(Message)) -> ControlFlow<()> {
    let deadline = Instant::now() + GATHER;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return ControlFlow::Continue(());
        }
        match messages.recv_timeout(left) {
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            Ok(message) => take(message),
            Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
        }
    }
}

/// Has what is for everybody in a VXLAN go to its peers.
fn flood(name: &str, vxlan: &Vxlan) -> Result<(), ToolError> {
    let shown = tool::run("bridge", &["-j", "fdb", "show", "dev", name])?;
    let shown = serde_json::from_str(&shown).unwrap_or_default();
    let lines = vxlan::flood(name, &vxlan.flooded, &vxlan::flooded(&shown));
    if !lines.is_empty() {
        tool::run_with("bridge", &["-force", "-batch", "-"], &(lines.join("\n") + "\n"))?;
    }
    Ok(())
}

fn switch_off_ipv6(device: &str) {
    let switch = Path::new("/proc/sys/net/ipv6/conf").join(device).join("disable_ipv6");
    // A kernel without IPv6 has no such switch.
    let is_on = fs::read_to_string(&switch).is_ok_and(|value| value.trim() == "0");
    if is_on && let Err(error) = fs::write(&switch, "1") {
        tracing::warn!(device, %error, "cannot switch IPv6 off");
    }
}

fn device(name: Option<&str>) -> Answer {
    let links = observe().map_err(failed)?.links;
    match name {
        Some(name) => match links.get(name).map(device_json) {
            Some(Json::Object(members)) => Ok(Some(members)),
            _ => Err(Status::InvalidArgument),
        },
        None => Ok(Some(links.iter().map(|(name, link)| (name.clone(), device_json(link))).collect())),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is the end of the error")]
fn failed(error: ToolError) -> Status {
    tracing::warn!(%error, "a tool failed");
    Status::Unknown
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Clients that kept asking once kept the thread from following what had changed.
    #[test]
    fn those_who_keep_asking_do_not_keep_it_from_working() {
        let (sender, messages) = mpsc::channel();
        let asking = std::thread::spawn(move || while sender.send(Message::Links).is_ok() {});
        let mut taken = 0;
        assert!(gather(&messages, |_| taken += 1).is_continue());
        assert!(taken > 0);
        drop(messages);
        asking.join().unwrap();
    }
}
