//! The router's way out: a pair of devices between the machine and the router, and a table of nftables on the machine
//! that translates addresses and leads ports into the router. All of it runs in the machine's namespace.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::namespace::Namespace;
use crate::settings::{PortRange, Uplink};
use crate::tool::{self, ToolError};

/// The name of the router's end.
pub const ROUTER_DEVICE: &str = "wan";

/// Where routers note that they need forwarding, and what it was before.
const NOTES: &str = "/run/rhyzome-router";

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Why the uplink cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A switch of the kernel could not be set.
    #[error("cannot set {switch}")]
    Switch {
        /// The switch.
        switch: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Uplink {
    /// Makes what is missing of it.
    ///
    /// # Errors
    /// Names what failed.
    pub fn up(&self, namespace: &Namespace) -> Result<(), UplinkError> {
        let inside = tool::run("ip", &["-n", namespace.name(), "link", "show", "dev", ROUTER_DEVICE]).is_ok();
        if !(inside && self.exists()) {
            self.remove_link();
            let pair = ["link", "add", &self.interface, "type", "veth", "peer", "name", ROUTER_DEVICE];
            tool::run("ip", &[&pair[..], &["netns", namespace.name()]].concat())?;
        }
        let address = format!("{}/{}", self.machine_address(), self.subnet.prefix_len());
        tool::run("ip", &["address", "replace", &address, "dev", &self.interface])?;
        tool::run("ip", &["link", "set", &self.interface, "up"])?;
        // Connections of the machine itself to a forwarded port on its loopback address leave by this device.
        switch(&PathBuf::from(format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.interface)), "1")?;
        tool::run_with("nft", &["-f", "-"], &self.ruleset())?;
        self.forward(namespace)
    }

    /// Removes all of it. What is not there is fine.
    pub fn down(&self, namespace: &Namespace) {
        let table = self.table.as_str();
        if tool::run("nft", &["list", "table", "inet", table]).is_ok()
            && let Err(error) = tool::run("nft", &["delete", "table", "inet", table])
        {
            tracing::warn!(table, %error, "cannot remove the uplink's rules");
        }
        self.remove_link();
        if let Err(error) = self.stop_forwarding(namespace) {
            tracing::warn!(%error, "cannot put forwarding back");
        }
    }

    /// The name servers that the router asks: those that are set, or those of the machine that others can reach.
    #[must_use]
    pub fn name_servers(&self) -> Vec<IpAddr> {
        match &self.dns {
            Some(servers) => servers.clone(),
            // Where systemd-resolved runs, /etc/resolv.conf names only itself.
            None => ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"]
                .iter()
                .map(|file| name_servers(&fs::read_to_string(file).unwrap_or_default()))
                .find(|servers| !servers.is_empty())
                .unwrap_or_default(),
        }
    }

    fn exists(&self) -> bool {
        tool::run("ip", &["link", "show", "dev", &self.interface]).is_ok()
    }

    fn remove_link(&self) {
        if self.exists()
            && let Err(error) = tool::run("ip", &["link", "delete", &self.interface])
        {
            tracing::warn!(interface = self.interface, %error, "cannot remove the uplink's device");
        }
    }

    fn ruleset(&self) -> String {
        let Uplink { interface, table, subnet, .. } = self;
        let forwards: Vec<String> = [("tcp", &self.forward.tcp), ("udp", &self.forward.udp)]
            .into_iter()
            .filter(|(_, ports)| !ports.is_empty())
            .map(|(protocol, ports)| {
                let ports: Vec<String> = ports.iter().map(PortRange::to_string).collect();
                let (ports, router) = (ports.join(", "), self.router_address());
                format!("fib daddr type local {protocol} dport {{ {ports} }} dnat ip to {router}")
            })
            .collect();
        let prerouting = forwards.iter().map(|forward| format!("\t\tiifname != \"{interface}\" {forward}\n"));
        let output = forwards.iter().map(|forward| format!("\t\t{forward}\n"));
        format!(
            "add table inet {table}
delete table inet {table}
table inet {table} {{
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
{}	}}
	chain output {{
		type nat hook output priority -100; policy accept;
{}	}}
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {subnet} oifname != \"{interface}\" masquerade
		ip saddr 127.0.0.0/8 oifname \"{interface}\" masquerade
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		oifname \"{interface}\" ct status dnat accept
		oifname \"{interface}\" drop
		iifname \"{interface}\" ip saddr != {subnet} drop
	}}
	chain input {{
		type filter hook input priority filter; policy accept;
		iifname \"{interface}\" ct state established,related accept
		iifname \"{interface}\" ip protocol icmp accept
		iifname \"{interface}\" drop
	}}
}}
",
            prerouting.collect::<String>(),
            output.collect::<String>(),
        )
    }

    /// The folder of the notes of all routers whose uplinks lead through this thread's namespace.
    fn notes() -> io::Result<PathBuf> {
        let namespace = fs::metadata("/proc/thread-self/ns/net")?.ino();
        Ok(Path::new(NOTES).join(namespace.to_string()))
    }

    /// Switches forwarding on, and notes what it was, unless a note of an earlier run says so.
    fn forward(&self, namespace: &Namespace) -> Result<(), UplinkError> {
        let failed = |source| UplinkError::Switch { switch: IP_FORWARD.into(), source };
        let folder = Self::notes().map_err(failed)?;
        let note = folder.join(namespace.name());
        fs::create_dir_all(&folder).map_err(failed)?;
        let is_on = fs::read_to_string(IP_FORWARD).map_err(failed)?.trim() == "1";
        if !note.exists() {
            // If another router switched it on, whoever of the two ends last switches it off.
            let was = if is_on && !was_off(&folder) { "1" } else { "0" };
            fs::write(&note, was).map_err(failed)?;
        }
        if is_on { Ok(()) } else { switch(Path::new(IP_FORWARD), "1") }
    }

    fn stop_forwarding(&self, namespace: &Namespace) -> io::Result<()> {
        let folder = Self::notes()?;
        let note = folder.join(namespace.name());
        let was = match fs::read_to_string(&note) {
            Ok(was) => was,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if was == "0" && fs::read_dir(&folder)?.count() == 1 {
            fs::write(IP_FORWARD, "0")?;
        }
        fs::remove_file(&note)?;
        // Folders that others still use are not empty.
        let _ = fs::remove_dir(&folder);
        let _ = fs::remove_dir(NOTES);
        Ok(())
    }
}

/// Whether a router in this folder of notes found forwarding switched off.
fn was_off(folder: &Path) -> bool {
    let notes = fs::read_dir(folder).into_iter().flatten().flatten();
    notes.into_iter().any(|note| fs::read_to_string(note.path()).is_ok_and(|was| was == "0"))
}

fn switch(switch: &Path, value: &str) -> Result<(), UplinkError> {
    fs::write(switch, value).map_err(|source| UplinkError::Switch { switch: switch.to_owned(), source })
}

/// The name servers in a resolv.conf that are not the machine itself.
fn name_servers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    servers.filter(|server| !server.is_loopback() && server.is_ipv4()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_that_can_be_reached_count() {
        let text = "# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1\nsearch x\n";
        assert_eq!(name_servers(text), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
