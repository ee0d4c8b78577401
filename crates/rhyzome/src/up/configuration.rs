//! What each program is told: its configuration file, written anew at every start.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::layout::Layout;
use super::settings::Settings;

/// The account of the router that its agent uses.
const ROUTER_USER: &str = "rhyzome";

/// How many ports lead from the machine into the router, one for each network's WireGuard server.
const FORWARDED_PORTS: u16 = 1024;

/// The core's configuration.
pub fn core(layout: &Layout, settings: &Settings) -> Value {
    let mut http = json!({ "listen": settings.http });
    if settings.http.ip().is_loopback() {
        // Whoever reaches it has this machine already.
        http["rate"] = json!({ "token": null, "address": null });
    }
    json!({
        "data_dir": layout.folder("core"),
        "http": http,
        "jobs": { "listen": settings.jobs, "url": format!("https://{}", settings.jobs) },
        "tls": {
            "ca": layout.authority_certificate(),
            "cert": layout.certificate("core"),
            "key": layout.key("core"),
        },
        "authority_dir": layout.authority(),
        "pools": settings.pools,
        "wireguard_first_port": settings.wireguard_first_port,
    })
}

/// The embedded router's configuration.
pub fn router(layout: &Layout, settings: &Settings) -> Value {
    let first = settings.wireguard_first_port.get();
    json!({
        "data_dir": layout.folder("rhyzome-router"),
        "listen": settings.router.listen,
        "tls": { "cert": layout.certificate("router"), "key": layout.key("router") },
        "netns": settings.router.namespace,
        "users": { ROUTER_USER: { "password_file": layout.secret("router-password") } },
        "uplink": {
            "interface": settings.router.interface,
            "subnet": settings.router.subnet,
            "table": settings.router.table,
            "forward": { "udp": [format!("{first}-{}", first.saturating_add(FORWARDED_PORTS - 1))] },
        },
    })
}

/// The router agent's configuration.
pub fn openwrt(layout: &Layout, settings: &Settings) -> Value {
    json!({
        "agent": agent(layout, "rhyzome-openwrt"),
        "router": {
            "url": format!("https://{}/ubus", settings.router.listen),
            "ca": layout.authority_certificate(),
            "username": ROUTER_USER,
            "password_file": layout.secret("router-password"),
            "lock_file": layout.folder("rhyzome-openwrt").join("router.lock"),
            // After a crash nothing can be changed for so long. Nobody is cut off from a router on the same machine.
            "rollback_timeout_seconds": 30,
        },
        "segments": { "kind": "bridge" },
        "endpoint_host": settings.router.endpoint_host.clone().or_else(own_address),
    })
}

/// The address from which this machine goes out, if it has a way out. Nothing is sent: connecting a UDP socket only
/// looks up the route.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

/// The hypervisor agent's configuration.
pub fn libvirt(layout: &Layout, settings: &Settings, libvirt: &Libvirt) -> Value {
    let uri = match libvirt {
        Libvirt::System => "qemu:///system".to_owned(),
        Libvirt::Own { socket } => format!("qemu+unix:///system?socket={}", socket.display()),
    };
    json!({
        "agent": agent(layout, "rhyzome-libvirt"),
        "libvirt_uri": uri,
        "storage_dir": layout.folder("storage"),
        "router_netns": settings.router.namespace,
        "accelerator": settings.accelerator,
    })
}

/// Whose libvirtd runs the guests.
#[derive(Clone, Debug)]
pub enum Libvirt {
    /// The system's.
    System,
    /// One that `rhyzome up` keeps, where the system has none.
    Own {
        /// Where it listens.
        socket: PathBuf,
    },
}

fn agent(layout: &Layout, program: &str) -> Value {
    json!({
        "invitation_file": layout.secret(&format!("{program}.invitation")),
        "state_dir": layout.folder(program),
    })
}

/// What `rhyzomectl` needs to know to work on this machine.
pub fn rhyzomectl(layout: &Layout, settings: &Settings) -> Value {
    json!({
        "url": format!("https://{}", settings.http),
        "ca": layout.authority_certificate(),
        "token_file": layout.secret("token"),
    })
}

/// Writes a configuration, for its owner alone, and gives its path.
pub fn write(layout: &Layout, program: &str, value: &Value) -> Result<PathBuf> {
    let path = layout.configuration(program);
    let text = format!("{value:#}\n");
    if config::file::read(&path).ok().as_ref() != Some(&text) {
        config::file::write_private(&path, text.as_bytes())?;
    }
    Ok(path)
}
