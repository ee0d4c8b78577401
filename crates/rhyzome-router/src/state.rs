//! The router's folder: UCI files, rights, what its programs need, and the note of what it made on the machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use config::FileError;
use nix::fcntl::{Flock, FlockArg};

use crate::configs::Configs;
use crate::files::Root;
use crate::settings::Settings;
use crate::tree::{Change, Tree};
use crate::uplink::ROUTER_DEVICE;

/// The rights of those who log in: what managing networks needs, and no more.
const ACL: &str = include_str!("state/acl.json");

/// The rights that LuCI brings along.
const LUCI: &str = include_str!("state/luci.json");
/// Config `uhttpd` as OpenWrt comes with it.
const UHTTPD: &str = include_str!("state/uhttpd");
/// Config `rpcd` as OpenWrt comes with it.
const RPCD: &str = include_str!("state/rpcd");

/// The group in [`ACL`].
const GROUP: &str = "rhyzome";

/// The folder of a router, which this process alone uses.
pub struct State {
    dir: PathBuf,
    _lock: Flock<File>,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process uses it.
    #[error("{}: a router runs with this data_dir: stop it first", .0.display())]
    Locked(PathBuf),
    /// A file or folder cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate that it starts with cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] pki::PkiError),
    /// A file or folder cannot be made.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl State {
    /// Makes the folder if it is not there, and takes it.
    ///
    /// # Errors
    /// When another process has it, or it cannot be made.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        config::file::make_private_directory(dir)?;
        let path = dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| StateError::Io { path: path.clone(), source })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(State { dir: dir.to_owned(), _lock: lock }),
            Err((_, nix::Error::EWOULDBLOCK)) => Err(StateError::Locked(dir.to_owned())),
            Err((_, errno)) => Err(StateError::Io { path, source: errno.into() }),
        }
    }

    /// The folders that clients know.
    #[must_use]
    pub fn root(&self) -> Root {
        Root { config: self.dir.join("config"), tmp: self.dir.join("tmp"), acl: self.acl(), own: self.dir.join("own") }
    }

    /// The folder of ACL files.
    #[must_use]
    pub fn acl(&self) -> PathBuf {
        self.dir.join("acl.d")
    }

    /// The folder for the files of programs.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The file that tells the address of the API.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        self.dir.join("address")
    }

    /// The local socket of ubus.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("ubus.sock")
    }

    /// The file of faults, which may be there.
    #[must_use]
    pub fn faults(&self) -> PathBuf {
        self.dir.join("faults")
    }

    /// The note that the namespace is ours to remove.
    #[must_use]
    pub fn namespace_note(&self) -> PathBuf {
        self.dir.join("made-namespace")
    }

    /// Makes what is missing: folders, rights, and the configs that a router starts with.
    ///
    /// # Errors
    /// Names the file or folder that cannot be made.
    pub fn prepare(&self, settings: &Settings) -> Result<(), StateError> {
        let root = self.root();
        let folders = [&root.config, &root.tmp, &root.acl, &self.run(), &root.place("/etc"), &root.place(KEEP)];
        for folder in folders {
            fs::create_dir_all(folder).map_err(|source| StateError::Io { path: folder.clone(), source })?;
        }
        let is_stock = settings.tls.is_none();
        let (name, text) = if is_stock { ("luci-base.json", LUCI) } else { ("rhyzome.json", ACL) };
        let acl = root.acl.join(name);
        if !acl.exists() {
            config::file::write_private(&acl, text.as_bytes())?;
        }
        if is_stock {
            make_certificate(&root)?;
        }
        let configs = Configs::new(root.config);
        let stock = [("rpcd", RPCD), ("uhttpd", UHTTPD)].map(|(name, text)| (name, text.to_owned()));
        for (name, text) in stock.into_iter().filter(|_| is_stock).chain(initial(settings)) {
            if !configs.names().contains(&name.to_owned()) {
                configs.write(name, &text)?;
            }
        }
        add_logins(&configs, settings)?;
        Ok(())
    }
}

/// The configs of a router that nobody has configured.
fn initial(settings: &Settings) -> [(&'static str, String); 5] {
    let mut network = Draft::default();
    network.section("loopback", "interface");
    network.options(&[("device", "lo"), ("proto", "static"), ("ipaddr", "127.0.0.1"), ("netmask", "255.0.0.0")]);
    if let Some(uplink) = &settings.uplink {
        let (router, machine) = (uplink.router_address().to_string(), uplink.machine_address().to_string());
        let mask = uplink.subnet.netmask().to_string();
        network.section("wan", "interface");
        network.options(&[("device", ROUTER_DEVICE), ("proto", "static"), ("ipaddr", &router)]);
        network.options(&[("netmask", &mask), ("gateway", &machine)]);
        for server in uplink.name_servers() {
            network.item("dns", &server.to_string());
        }
    }
    let mut firewall = Draft::default();
    firewall.section("defaults", "defaults");
    firewall.options(&[("input", "REJECT"), ("output", "ACCEPT"), ("forward", "REJECT")]);
    if settings.uplink.is_some() {
        firewall.section("wan", "zone");
        firewall.options(&[("name", "wan")]);
        firewall.item("network", "wan");
        firewall.options(&[("input", "REJECT"), ("output", "ACCEPT"), ("forward", "REJECT")]);
        firewall.options(&[("masq", "1"), ("mtu_fix", "1")]);
        firewall.section("wan_ping", "rule");
        firewall.options(&[("name", "Ping"), ("src", "wan"), ("proto", "icmp"), ("icmp_type", "echo-request")]);
        firewall.options(&[("family", "ipv4"), ("target", "ACCEPT")]);
    }
    let mut system = Draft::default();
    system.section("system", "system");
    system.options(&[("hostname", &settings.netns), ("timezone", "UTC")]);
    [
        ("dhcp", Draft::default().text()),
        ("firewall", firewall.text()),
        ("network", network.text()),
        ("rpcd", Draft::default().text()),
        ("system", system.text()),
    ]
}

/// Where packages name what a system upgrade keeps.
const KEEP: &str = "/lib/upgrade/keep.d";

/// What uhttpd makes at its first start.
fn make_certificate(root: &Root) -> Result<(), StateError> {
    let (cert, key) = (root.place("/etc/uhttpd.crt"), root.place("/etc/uhttpd.key"));
    if cert.exists() && key.exists() {
        return Ok(());
    }
    let made = pki::self_signed("OpenWrt", std::time::SystemTime::now().into())?;
    Ok(made.write(&cert, &key)?)
}

/// Gives each user of the settings a login, unless there is one.
fn add_logins(configs: &Configs, settings: &Settings) -> Result<(), StateError> {
    let logins = configs.load_or_empty("rpcd");
    let has_login = |user: &str| logins.of_kind("login").any(|login| login.text("username") == Some(user));
    let mut draft = Draft { tree: logins.clone(), section: String::new() };
    for user in settings.users.keys().filter(|user| !has_login(user)) {
        draft.section(user, "login");
        draft.options(&[("username", user), ("password", &format!("$p${user}"))]);
        draft.item("read", GROUP);
        draft.item("write", GROUP);
    }
    if draft.tree != logins {
        configs.write("rpcd", &draft.text())?;
    }
    Ok(())
}

/// A config in the making.
#[derive(Default)]
struct Draft {
    tree: Tree,
    section: String,
}

impl Draft {
    fn section(&mut self, name: &str, kind: &str) {
        name.clone_into(&mut self.section);
        self.step(Change::Type { section: name.to_owned(), kind: kind.to_owned() });
    }

    fn options(&mut self, options: &[(&str, &str)]) {
        for (option, value) in options {
            let section = self.section.clone();
            self.step(Change::Set { section, option: (*option).to_owned(), value: (*value).to_owned() });
        }
    }

    fn item(&mut self, option: &str, value: &str) {
        let section = self.section.clone();
        self.step(Change::ListAdd { section, option: option.to_owned(), value: value.to_owned() });
    }

    fn step(&mut self, change: Change) {
        let taken = self.tree.apply(&change);
        debug_assert!(taken.is_ok(), "the section was just made");
    }

    fn text(&self) -> String {
        self.tree.to_string()
    }
}
