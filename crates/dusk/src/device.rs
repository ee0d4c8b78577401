//! What this device is and how it fares, read through ubus. What it does not tell is left out: no reading fails because
//! one object is not there.

mod answer;
pub mod host;
mod wireless;

use std::collections::BTreeMap;
use std::path::Path;

use fleet::facts::{Band, Facts, Radio};
use fleet::status::{Board, Interface, Lease, Space, Status};
use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};
use types::MacAddr;
use ubus::{Client, UbusError};
use uci::SectionName;

use answer::{flag, list, number, text, texts};

/// What OpenWrt knows of a board when it boots for the first time.
const BOARD: &str = "/etc/board.json";

/// Reads how the device fares. `root` is `/` but in tests.
///
/// # Errors
/// When ubus does not answer at all.
pub async fn status(client: &Client, root: &Path) -> Result<Status, UbusError> {
    let board = client.call("system", "board", json!({})).await?.unwrap_or_default();
    let info = ask(client, "system", "info", json!({})).await;
    let dump = ask(client, "network.interface", "dump", json!({})).await;
    let leases = ask(client, "luci-rpc", "getDHCPLeases", json!({})).await;
    let (radios, clients) = wireless::read(client).await;
    let memory = info.get("memory").cloned().unwrap_or_default();
    let available = memory.get("available").or_else(|| memory.get("free")).and_then(Value::as_u64).unwrap_or(0);
    Ok(Status {
        board: board_of(&board),
        uptime: number(&info, "uptime"),
        load: list(&info, "load").filter_map(Value::as_u64).map(hundredths).collect(),
        memory: Space { total: number(&memory, "total") / 1024, free: available / 1024 },
        flash: flash(root),
        interfaces: list(&dump, "interface").map(interface).collect(),
        radios,
        clients,
        leases: list(&leases, "dhcp_leases").map(lease).collect(),
        ..Status::default()
    })
}

/// Reads what the device's hardware is like, as far as configuration depends on it.
///
/// # Errors
/// When ubus does not answer at all.
pub async fn facts(client: &Client, root: &Path) -> Result<Facts, UbusError> {
    let board = client.call("system", "board", json!({})).await?.unwrap_or_default();
    let told = std::fs::read(root.join(BOARD.trim_start_matches('/'))).unwrap_or_default();
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    let (mac, ports) = read_board(&told);
    let (radios, _) = wireless::read(client).await;
    let radio = |radio: &fleet::status::RadioStatus| {
        let (section, band) = (SectionName::new(radio.name.as_str()).ok()?, radio.band.parse::<Band>().ok()?);
        Some(Radio { section, band })
    };
    Ok(Facts { board: text(&board, "board_name"), mac, radios: radios.iter().filter_map(radio).collect(), ports })
}

/// Asks for something that may not be there.
async fn ask(client: &Client, object: &str, method: &str, args: Value) -> Value {
    client.call(object, method, args).await.ok().flatten().unwrap_or_default()
}

fn board_of(board: &Value) -> Board {
    let release = board.get("release").cloned().unwrap_or_default();
    let parts = ["distribution", "version", "revision"].map(|part| text(&release, part));
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Board {
        hostname: text(board, "hostname"),
        model: text(board, "model"),
        board: text(board, "board_name"),
        release: parts.join(" "),
        target: text(&release, "target"),
        kernel: text(board, "kernel"),
    }
}

/// The name of the device and its ports by role, from `board.json`.
fn read_board(told: &Value) -> (Option<MacAddr>, BTreeMap<String, Vec<String>>) {
    let networks = told.get("network").and_then(Value::as_object).into_iter().flatten();
    let (mut mac, mut ports) = (None, BTreeMap::new());
    for (role, network) in networks {
        let mut devices = texts(network, "ports");
        if devices.is_empty() {
            // One port, and before 21.02 under another name; a switch that is tagged has a device by VLAN.
            let device = ["device", "ifname"].map(|key| text(network, key)).into_iter().find(|name| !name.is_empty());
            devices.extend(device.iter().flat_map(|names| names.split(' ')).map(str::to_owned));
        }
        if !devices.is_empty() {
            ports.insert(role.clone(), devices);
        }
        let address = text(network, "macaddr").parse().ok();
        if mac.is_none() || role == "lan" {
            mac = address.or(mac);
        }
    }
    let label = told.get("system").map(|system| text(system, "label_macaddr")).and_then(|mac| mac.parse().ok());
    (label.or(mac), ports)
}

fn hundredths(load: u64) -> u32 {
    u32::try_from(load * 100 / 65_536).unwrap_or(u32::MAX)
}

fn flash(root: &Path) -> Space {
    // What is written on a device is written to the overlay.
    let overlay = root.join("overlay");
    let place = if overlay.is_dir() { overlay } else { root.to_owned() };
    let Ok(found) = statvfs(&place) else { return Space::default() };
    let block = found.fragment_size();
    #[allow(clippy::useless_conversion, reason = "these numbers are narrower on some platforms")]
    let kib = |blocks| u64::from(blocks).saturating_mul(block) / 1024;
    Space { total: kib(found.blocks()), free: kib(found.blocks_available()) }
}

fn interface(told: &Value) -> Interface {
    let addresses = ["ipv4-address", "ipv6-address"].into_iter().flat_map(|family| list(told, family));
    let address = |address: &Value| format!("{}/{}", text(address, "address"), number(address, "mask"));
    let errors = list(told, "errors").map(|error| text(error, "code"));
    let device = text(told, "l3_device");
    Interface {
        name: text(told, "interface"),
        is_up: flag(told, "up"),
        device: if device.is_empty() { text(told, "device") } else { device },
        proto: text(told, "proto"),
        addresses: addresses.map(address).collect(),
        uptime: number(told, "uptime"),
        errors: errors.collect(),
    }
}

fn lease(told: &Value) -> Lease {
    Lease {
        mac: text(told, "macaddr").to_ascii_lowercase(),
        address: text(told, "ipaddr"),
        name: text(told, "hostname"),
        expires: number(told, "expires"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_boards_of_all_ages() {
        let told = json!({
            "system": {"label_macaddr": "00:11:22:33:44:66"},
            "network": {
                "lan": {"ports": ["lan1", "lan2"], "protocol": "static", "macaddr": "00:11:22:33:44:55"},
                "wan": {"device": "eth1"},
                "old": {"ifname": "eth0.1 eth0.2"},
                "none": {"protocol": "none"}
            }
        });
        let (mac, ports) = read_board(&told);
        assert_eq!(mac.unwrap().to_string(), "00:11:22:33:44:66");
        assert_eq!(ports["lan"], ["lan1", "lan2"]);
        assert_eq!(ports["wan"], ["eth1"]);
        assert_eq!(ports["old"], ["eth0.1", "eth0.2"]);
        assert!(!ports.contains_key("none"));
        assert_eq!(read_board(&Value::Null), (None, BTreeMap::new()));
    }

    #[test]
    fn an_interface_is_read_as_netifd_tells_it() {
        let told = json!({
            "interface": "lan", "up": true, "proto": "static", "l3_device": "br-lan", "uptime": 7,
            "ipv4-address": [{"address": "10.0.0.1", "mask": 24}], "errors": [{"subsystem": "x", "code": "BAD"}]
        });
        let interface = interface(&told);
        assert_eq!((interface.device.as_str(), interface.is_up, interface.uptime), ("br-lan", true, 7));
        assert_eq!((interface.addresses, interface.errors), (vec!["10.0.0.1/24".to_owned()], vec!["BAD".to_owned()]));
    }
}
