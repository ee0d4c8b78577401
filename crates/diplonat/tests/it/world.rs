//! A home and the internet in three network namespaces: a client outside, a router with miniupnpd, and the host inside.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(90);
/// The router's address outside: one that miniupnpd takes for public.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 5);

/// The namespaces, and what runs in them. All of it is gone when this is.
pub struct World {
    name: String,
    pub dir: TempDir,
    children: Vec<(&'static str, Child)>,
    router_began: Instant,
}

/// One of the namespaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Wan,
    Router,
    Host,
}

impl World {
    /// Builds it, with the router's miniupnpd running.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("dp{}{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut world =
            Self { name, dir: tempfile::tempdir().unwrap(), children: Vec::new(), router_began: Instant::now() };
        world.connect();
        world.start_router();
        world
    }

    fn connect(&self) {
        for place in [Place::Wan, Place::Router, Place::Host] {
            tool(&["ip", "netns", "add", &self.namespace(place)]);
            self.run(place, &["ip", "link", "set", "lo", "up"]);
        }
        let link = |one, others: (&str, &str), other| {
            let (near, far) = (self.interface(others.0), self.interface(others.1));
            let (here, there) = (self.namespace(one), self.namespace(other));
            tool(&["ip", "link", "add", &near, "netns", &here, "type", "veth", "peer", "name", &far, "netns", &there]);
        };
        link(Place::Router, ("w", "v"), Place::Wan);
        link(Place::Router, ("l", "h"), Place::Host);
        let addresses = [
            (Place::Wan, "v", "11.22.33.1/24"),
            (Place::Router, "w", "11.22.33.5/24"),
            (Place::Router, "l", "192.168.77.1/24"),
            (Place::Host, "h", "192.168.77.2/24"),
        ];
        for (place, interface, address) in addresses {
            self.run(place, &["ip", "address", "add", address, "dev", &self.interface(interface)]);
            self.run(place, &["ip", "link", "set", &self.interface(interface), "up"]);
        }
        self.run(Place::Host, &["ip", "route", "add", "default", "via", "192.168.77.1"]);
        self.run(Place::Router, &["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    }

    /// Starts the router's miniupnpd with empty tables.
    pub fn start_router(&mut self) {
        let (wan, lan) = (self.interface("w"), self.interface("l"));
        let dir = self.dir.path();
        let rules = format!(
            "flush ruleset
table inet filter {{
    chain miniupnpd {{ }}
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname {lan} accept
        jump miniupnpd
    }}
    chain prerouting_miniupnpd {{ }}
    chain postrouting_miniupnpd {{ }}
    chain prerouting {{ type nat hook prerouting priority -100; jump prerouting_miniupnpd; }}
    chain postrouting {{ type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname {wan} masquerade; }}
}}
"
        );
        self.feed(Place::Router, &["nft", "-f", "-"], &rules);
        let configuration = format!(
            "ext_ifname={wan}
listening_ip={lan}
port=5555
enable_upnp=yes
enable_natpmp=yes
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
lease_file={leases}
secure_mode=yes
uuid=00000000-0000-0000-0000-000000000001
allow 1024-65535 0.0.0.0/0 1-65535
deny 0-65535 0.0.0.0/0 0-65535
",
            leases = dir.join("leases").display()
        );
        fs::write(dir.join("miniupnpd.conf"), configuration).unwrap();
        fs::write(dir.join("leases"), "").unwrap();
        let (configuration, pid) = (dir.join("miniupnpd.conf"), dir.join("miniupnpd.pid"));
        let arguments = ["miniupnpd", "-d", "-f", configuration.to_str().unwrap(), "-P", pid.to_str().unwrap()];
        let mut daemon = self.command(Place::Router, &arguments);
        let log = fs::File::create(dir.join("miniupnpd.log")).unwrap();
        let daemon = daemon.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.children.push(("miniupnpd", daemon.unwrap()));
        self.router_began = Instant::now();
    }

    /// Waits until the router is old enough for its age to tell that it was started again: clocks may differ by 2 s.
    pub fn let_router_age(&self) {
        let is_old = || (self.router_began.elapsed() > Duration::from_secs(5)).then_some(());
        wait_for("the router ages", is_old).unwrap();
    }

    /// Ends a program that was started under this name.
    pub fn stop(&mut self, name: &str) {
        self.children.retain_mut(|(known, child)| {
            let is_it = *known == name;
            if is_it {
                let _ = (child.kill(), child.wait());
            }
            !is_it
        });
    }

    /// Asks a program that was started under this name to end, and waits until it has.
    pub fn terminate(&mut self, name: &str) {
        let (_, child) = self.children.iter_mut().find(|(known, _)| *known == name).unwrap();
        tool(&["kill", "-TERM", &child.id().to_string()]);
        child.wait().unwrap();
        self.children.retain(|(known, _)| *known != name);
    }

    /// Starts a program that runs until it is stopped.
    pub fn start(&mut self, name: &'static str, place: Place, arguments: &[&str]) {
        let log = fs::File::create(self.dir.path().join(format!("{name}.log"))).unwrap();
        let mut command = self.command(place, arguments);
        command.current_dir(self.dir.path()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push((name, command.spawn().unwrap()));
    }

    /// Starts diplonat on the host.
    pub fn start_diplonat(&mut self) {
        self.start("diplonat", Place::Host, &[env!("CARGO_BIN_EXE_diplonat"), "run"]);
    }

    /// Runs diplonat on the host, and gives what it says.
    pub fn diplonat(&self, arguments: &[&str]) -> Output {
        let mut whole = vec![env!("CARGO_BIN_EXE_diplonat")];
        whole.extend(arguments);
        self.command(Place::Host, &whole).current_dir(self.dir.path()).output().unwrap()
    }

    /// Writes a file that diplonat reads, in one piece.
    pub fn write(&self, name: &str, text: &str) {
        config::file::write_public(&self.dir.path().join(name), text.as_bytes()).unwrap();
    }

    /// Waits until diplonat's status is as it should be.
    pub fn wait_for_status(&self, what: &str, is_good: impl Fn(&Value) -> bool) -> Value {
        let mut last = String::new();
        wait_for(what, || {
            let output = self.diplonat(&["status", "-o", "json"]);
            last = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            serde_json::from_slice(&output.stdout).ok().filter(|status| is_good(status))
        })
        .unwrap_or_else(|| panic!("{what} in vain; the status is\n{last}\nand the log\n{}", self.log("diplonat")))
    }

    /// What a program wrote.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Waits until a tool succeeds.
    pub fn run_at_last(&self, place: Place, arguments: &[&str]) {
        let succeeds = || self.command(place, arguments).output().unwrap().status.success().then_some(());
        wait_for(arguments[0], succeeds).unwrap_or_else(|| panic!("{arguments:?} fails again and again"));
    }

    /// Waits until a client outside reads the page from a port.
    pub fn wait_for_page(&self, port: u16) {
        let page = || self.fetch(port).filter(|page| page == "hello\n");
        wait_for("the page", page).unwrap_or_else(|| panic!("port {port}: {}", self.log("diplonat")));
    }

    /// What a client outside reads from a port of the router's address outside.
    pub fn fetch(&self, port: u16) -> Option<String> {
        let url = format!("http://{OUTSIDE}:{port}/index.html");
        let output = self.command(Place::Wan, &["curl", "-s", "-m", "3", &url]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The router's mappings, as its own lease file tells them.
    pub fn leases(&self) -> String {
        fs::read_to_string(self.dir.path().join("leases")).unwrap_or_default()
    }

    /// Runs a tool that has to succeed.
    pub fn run(&self, place: Place, arguments: &[&str]) -> String {
        succeed(self.command(place, arguments).output(), arguments)
    }

    /// Runs a tool that has to succeed, with this input.
    pub fn feed(&self, place: Place, arguments: &[&str], input: &str) {
        let mut child = self.command(place, arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        succeed(child.wait_with_output(), arguments);
    }

    fn command(&self, place: Place, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(place)]).args(arguments).stdin(Stdio::null());
        command
    }

    fn namespace(&self, place: Place) -> String {
        let suffix = match place {
            Place::Wan => "wan",
            Place::Router => "router",
            Place::Host => "host",
        };
        format!("{}{suffix}", self.name)
    }

    fn interface(&self, end: &str) -> String {
        format!("{}{end}", self.name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            let _ = (child.kill(), child.wait());
        }
        for place in [Place::Wan, Place::Router, Place::Host] {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(place)]).status();
        }
    }
}

/// Asks again and again until there is an answer, or patience ends.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if began.elapsed() > PATIENCE {
            eprintln!("waited for {what} in vain");
            return None;
        }
        sleep(Duration::from_millis(100));
    }
}

/// A program that has to be there.
fn tool(arguments: &[&str]) -> String {
    succeed(Command::new(arguments[0]).args(&arguments[1..]).output(), arguments)
}

fn succeed(output: std::io::Result<Output>, arguments: &[&str]) -> String {
    let needs = "these tests need root, and the packages of scripts/machine.sh";
    let output = output.unwrap_or_else(|error| panic!("{arguments:?}: {error}; {needs}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}; {needs}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A page for the host's web server.
pub fn write_page(dir: &Path) {
    fs::write(dir.join("index.html"), "hello\n").unwrap();
}
