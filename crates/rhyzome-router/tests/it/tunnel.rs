//! The other end of a WireGuard tunnel.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use crate::net::{Net, output, unique};
use crate::program::eventually;

/// The public half of a private key.
pub fn public_key(private: &str) -> String {
    let mut child = Command::new("wg").arg("pubkey").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(private.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

/// A peer, in mounts of its own so that its socket meets no other.
pub struct Tunnel {
    child: Child,
}

impl Tunnel {
    /// A peer in `net` that sends what goes to `routed` to the router at `endpoint`.
    pub fn new(net: &Net, private: &str, address: &str, router_key: &str, endpoint: &str, routed: &str) -> Self {
        let device = unique("t").replace('-', "x");
        let script = format!(
            "set -e; mkdir -p /run/wireguard; mount -t tmpfs none /run/wireguard
             wireguard-go {device}
             echo '[Interface]\nPrivateKey = {private}\n[Peer]\nPublicKey = {router_key}\nAllowedIPs = {routed}\nEndpoint = {endpoint}' \
             | wg setconf {device} /dev/stdin
             ip address add {address}/32 dev {device}; ip link set {device} up; ip route add {routed} dev {device}
             exec sleep infinity"
        );
        let namespace = format!("--net=/run/netns/{}", net.name);
        let child = Command::new("nsenter")
            .args([&namespace, "--", "unshare", "--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let tunnel = Tunnel { child };
        eventually("the tunnel's device is up", || {
            let routes = net.exec(&["ip", "route", "show", "dev", &device]);
            String::from_utf8_lossy(&routes.stdout).contains(routed)
        });
        tunnel
    }

    /// Whether an address answers through it.
    pub fn pings(&self, address: &str) -> bool {
        let pid = self.child.id().to_string();
        output("nsenter", &["-t", &pid, "--net", "busybox", "ping", "-c", "1", "-W", "2", address]).status.success()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
