//! WireGuard interfaces: the kernel's where it has them, else those of the program wireguard-go.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use data_encoding::BASE64;

use crate::json::{Json, Members, object};
use crate::network::plan::{Trouble, WireGuard};
use crate::process::Process;
use crate::tool::{self, ToolError};
use crate::tree::Section;

/// How long wireguard-go may take to come up.
const START_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const POLL: Duration = Duration::from_millis(5);

/// The WireGuard interfaces that there are.
#[derive(Default)]
pub struct Tunnels {
    /// Whether the kernel has WireGuard, once that is known.
    kernel: Option<bool>,
    running: BTreeMap<String, Option<Process>>,
}

/// Why an interface could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// A value that is no key, port or address.
    #[error("{section}: {option}: expected {expected}")]
    Value {
        /// The section.
        section: String,
        /// Its option.
        option: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// wireguard-go does not come up.
    #[error("wireguard-go does not come up")]
    Start,
}

impl TunnelError {
    /// The error as a dump of the interface shows it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        let code = match self {
            TunnelError::Value { .. } => "WIREGUARD_CONFIG",
            TunnelError::Tool(_) | TunnelError::Start => "SETUP_FAILED",
        };
        Trouble { subsystem: "wireguard", code, data: Vec::new() }
    }
}

impl Tunnels {
    /// Whether this interface is up and its program running.
    pub fn is_running(&mut self, name: &str) -> bool {
        match self.running.get_mut(name) {
            None => false,
            Some(None) => true,
            Some(Some(process)) => process.is_running(),
        }
    }

    /// Makes the interface if it is not there, and gives it the keys and peers of its config, and no others.
    ///
    /// # Errors
    /// When the config is not understood, or a tool fails.
    pub fn set_up(&mut self, wireguard: &WireGuard) -> Result<(), TunnelError> {
        let config = config(wireguard)?;
        let name = &wireguard.section.name;
        if !self.is_running(name) {
            let process = self.make(name)?;
            self.running.insert(name.clone(), process);
        }
        tool::run_with("wg", &["syncconf", name, "/dev/stdin"], &config)?;
        Ok(())
    }

    /// Removes the interfaces that `wanted` does not name, also those that an earlier run left in the kernel.
    pub fn retain(&mut self, wanted: &[&str], present: impl Iterator<Item = String>) {
        self.running.retain(|name, _| wanted.contains(&name.as_str()));
        for name in present.filter(|name| !wanted.contains(&name.as_str())) {
            if let Err(error) = tool::run("ip", &["link", "delete", &name]) {
                tracing::warn!(interface = name, %error, "cannot remove a WireGuard interface");
            }
        }
    }

    /// The program of the interface, if it needs one.
    fn make(&mut self, name: &str) -> Result<Option<Process>, TunnelError> {
        if self.kernel != Some(false) {
            let exists =
                tool::run("ip", &["link", "show", "dev", name, "type", "wireguard"]).is_ok_and(|text| !text.is_empty());
            let made = exists || tool::run("ip", &["link", "add", name, "type", "wireguard"]).is_ok();
            if made {
                self.kernel = Some(true);
                return Ok(None);
            }
            self.kernel.get_or_insert(false);
        }
        let mut process = Process::start("wireguard-go", &["--foreground", name], Stdio::null())
            .map_err(|source| ToolError::Run { program: "wireguard-go", source })?;
        let socket = Path::new("/run/wireguard").join(name).with_extension("sock");
        let deadline = Instant::now() + START_LIMIT;
        while !socket.exists() {
            if !process.is_running() || Instant::now() > deadline {
                return Err(TunnelError::Start);
            }
            std::thread::sleep(POLL);
        }
        Ok(Some(process))
    }
}

/// The config as `wg setconf` reads it.
fn config(wireguard: &WireGuard) -> Result<String, TunnelError> {
    let interface = &wireguard.section;
    let mut lines = vec!["[Interface]".to_owned()];
    lines.push(format!(
        "PrivateKey = {}",
        key(interface, "private_key")?.ok_or_else(|| wrong(interface, "private_key", KEY))?
    ));
    if let Some(port) = interface.text("listen_port") {
        port.parse::<u16>().map_err(|_| wrong(interface, "listen_port", "a port"))?;
        lines.push(format!("ListenPort = {port}"));
    }
    if let Some(mark) = interface.text("fwmark").filter(|mark| !mark.contains(['\n', '\r'])) {
        lines.push(format!("FwMark = {mark}"));
    }
    for peer in &wireguard.peers {
        // A peer that nobody can be takes nothing from the others.
        match peer_config(peer) {
            Ok(config) => lines.extend(config),
            Err(error) => tracing::warn!(%error, "a WireGuard peer is passed over"),
        }
    }
    Ok(lines.join("\n") + "\n")
}

fn peer_config(peer: &Section) -> Result<Vec<String>, TunnelError> {
    let mut lines = vec!["[Peer]".to_owned()];
    lines.push(format!("PublicKey = {}", key(peer, "public_key")?.ok_or_else(|| wrong(peer, "public_key", KEY))?));
    if let Some(key) = key(peer, "preshared_key")? {
        lines.push(format!("PresharedKey = {key}"));
    }
    let allowed = peer.list("allowed_ips");
    if allowed.iter().any(|net| !is_net(net)) {
        return Err(wrong(peer, "allowed_ips", "addresses or nets"));
    }
    if !allowed.is_empty() {
        lines.push(format!("AllowedIPs = {}", allowed.join(", ")));
    }
    if let Some(host) = peer.text("endpoint_host") {
        if host.contains(|c: char| c.is_whitespace() || c == ',') {
            return Err(wrong(peer, "endpoint_host", "a name or an address"));
        }
        let port = peer.text("endpoint_port").unwrap_or("51820");
        port.parse::<u16>().map_err(|_| wrong(peer, "endpoint_port", "a port"))?;
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        lines.push(format!("Endpoint = {host}:{port}"));
    }
    if let Some(seconds) = peer.text("persistent_keepalive") {
        seconds.parse::<u16>().map_err(|_| wrong(peer, "persistent_keepalive", "seconds"))?;
        lines.push(format!("PersistentKeepalive = {seconds}"));
    }
    Ok(lines)
}

const KEY: &str = "a key: 32 bytes in base64";

fn key<'a>(section: &'a Section, option: &'static str) -> Result<Option<&'a str>, TunnelError> {
    match section.text(option) {
        None => Ok(None),
        Some(key) if BASE64.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 32) => Ok(Some(key)),
        Some(_) => Err(wrong(section, option, KEY)),
    }
}

fn is_net(text: &str) -> bool {
    text.parse::<ipnet::IpNet>().is_ok() || text.parse::<std::net::IpAddr>().is_ok()
}

fn wrong(section: &Section, option: &'static str, expected: &'static str) -> TunnelError {
    TunnelError::Value { section: section.name.clone(), option, expected }
}

/// The interfaces and their peers, as `luci.wireguard getWgInstances` tells them.
///
/// # Errors
/// When `wg` fails.
pub fn instances(descriptions: &BTreeMap<String, String>) -> Result<Members, ToolError> {
    Ok(parse_dump(&tool::run("wg", &["show", "all", "dump"])?, descriptions))
}

/// Reads `wg show all dump`: an interface has five fields, a peer nine.
fn parse_dump(text: &str, descriptions: &BTreeMap<String, String>) -> Members {
    let mut interfaces: Vec<(String, Members, Vec<Json>)> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            [name, _private, public, port, mark] => {
                let members = object([
                    ("name", (*name).into()),
                    ("public_key", (*public).into()),
                    ("listen_port", (*port).into()),
                    ("fwmark", (*mark).into()),
                ]);
                let Json::Object(members) = members else { continue };
                interfaces.push(((*name).to_owned(), members, Vec::new()));
            }
            [name, public, _preshared, endpoint, allowed, handshake, received, sent, keepalive] => {
                let allowed: Vec<&str> = allowed.split(',').filter(|net| *net != "(none)").collect();
                let peer = object([
                    ("name", descriptions.get(*public).map_or("", String::as_str).into()),
                    ("public_key", (*public).into()),
                    ("endpoint", (*endpoint).into()),
                    ("allowed_ips", allowed.into()),
                    ("latest_handshake", (*handshake).into()),
                    ("transfer_rx", (*received).into()),
                    ("transfer_tx", (*sent).into()),
                    ("persistent_keepalive", (*keepalive).into()),
                ]);
                if let Some((_, _, peers)) = interfaces.iter_mut().find(|(known, _, _)| known == name) {
                    peers.push(peer);
                }
            }
            _ => {}
        }
    }
    let finished = interfaces.into_iter().map(|(name, mut members, peers)| {
        members.push(("peers".to_owned(), Json::Array(peers)));
        (name, Json::Object(members))
    });
    finished.collect()
}

/// A new key pair, as `luci.wireguard generateKeyPair` tells it.
///
/// # Errors
/// When `wg` fails.
pub fn key_pair() -> Result<Members, ToolError> {
    let private = tool::run("wg", &["genkey"])?;
    let public = tool::run_with("wg", &["pubkey"], &private)?;
    let keys = object([("priv", private.trim().into()), ("pub", public.trim().into())]);
    Ok(vec![("keys".to_owned(), keys)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_becomes_interfaces_with_peers() {
        let dump = "wg0\tprivate\tpublic\t51820\toff\n\
                    wg0\tpeer\t(none)\t192.0.2.1:4\t10.0.0.2/32,10.1.0.0/16\t1700000000\t12\t34\t25\n";
        let names = BTreeMap::from([("peer".to_owned(), "laptop".to_owned())]);
        let text = serde_json::to_string(&Json::Object(parse_dump(dump, &names))).unwrap();
        assert!(!text.contains("private"));
        assert!(text.contains(r#""name":"laptop""#) && text.contains(r#""allowed_ips":["10.0.0.2/32","10.1.0.0/16"]"#));
    }

    #[test]
    fn a_bad_key_is_named_and_not_shown() {
        let text = "config interface 'wg0'\noption private_key 'not-a-key'\n";
        let tree =
            crate::tree::Tree::of(&uci::Package::parse(uci::PackageName::new("network").unwrap(), text).unwrap());
        let section = tree.section("wg0").unwrap().clone();
        let error = config(&WireGuard { section, peers: Vec::new() }).unwrap_err().to_string();
        assert_eq!(error, "wg0: private_key: expected a key: 32 bytes in base64");
    }
}
