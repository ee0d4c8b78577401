//! Settings: `diplonat.json`, and the environment variables of old, which win over the file.

pub(crate) mod environment;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use types::DomainName;

use crate::exposure::PublicPort;
use crate::firewall::nft::Chain;
use crate::gateway::Dialect;

/// The name of the file.
pub const FILE_NAME: &str = "diplonat.json";
/// Where the status is asked for, where nothing else is said.
pub const LISTEN: &str = "127.0.0.1:9780";

/// Everything that can be set; what is left out has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name of this node; the host's where it is left out.
    pub node: Option<String>,
    /// Where the journal of mappings lies.
    pub state_dir: Option<PathBuf>,
    /// Where the status is served.
    pub listen: Option<SocketAddr>,
    /// What becomes of everything when diplonat ends.
    pub on_exit: OnExit,
    /// Reserved ports that may be published all the same.
    pub allow_reserved_ports: BTreeSet<PublicPort>,
    /// A file of services.
    pub services: Option<PathBuf>,
    /// Consul, of which the services of one node are read.
    pub consul: Option<ConsulSettings>,
    /// The gateway.
    pub gateway: GatewaySettings,
    /// The host's firewall.
    pub firewall: FirewallSettings,
    /// The zone in which names are written; none are where it is left out.
    pub dns: Option<DnsSettings>,
}

/// What becomes of mappings and rules when diplonat ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// They stay, so that a new start interrupts nothing; leases run out by themselves.
    #[default]
    Keep,
    /// They are withdrawn.
    Withdraw,
}

/// How Consul is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsulSettings {
    /// Its URL.
    pub url: Option<String>,
    /// The node whose services are published; this node where it is left out.
    pub node: Option<String>,
    /// The file with the ACL token, readable by its owner alone.
    pub token_file: Option<PathBuf>,
    /// Take the token from CONSUL_HTTP_TOKEN, where no file has it.
    #[serde(skip)]
    pub is_token_in_environment: bool,
    /// The CA of its certificate, in PEM.
    pub ca: Option<PathBuf>,
    /// A directory of such CAs.
    pub ca_directory: Option<PathBuf>,
    /// Our certificate, in PEM.
    pub cert: Option<PathBuf>,
    /// Its key, readable by its owner alone.
    pub key: Option<PathBuf>,
    /// Take any certificate of the server for good.
    pub tls_skip_verify: bool,
    /// The name in the server's certificate, where it is not that of the URL.
    pub server_name: Option<String>,
}

/// How the gateway is found and asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// Whether there is one to be asked.
    pub enable: bool,
    /// Its address; the default route's where it is left out.
    pub address: Option<Ipv4Addr>,
    /// Our address on the way to it.
    pub local_address: Option<Ipv4Addr>,
    /// Other hosts at which its services may be.
    pub allowed_hosts: Vec<Ipv4Addr>,
    /// What may be spoken with it: `pcp`, `igd`, `nat-pmp`; everything where it is left out.
    pub protocols: Option<BTreeSet<Dialect>>,
    /// How long mappings are asked for, in seconds.
    pub lease_seconds: u32,
    /// How often it is asked how it is, in seconds.
    pub pulse_seconds: u64,
}

/// How the firewall is opened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FirewallSettings {
    /// Whether it is ours to open.
    pub enable: bool,
    /// The chain that jumps to ours; a table of our own where it is left out.
    pub jump: Option<Chain>,
    /// How often our rules are read back, in seconds.
    pub refresh_seconds: u64,
}

/// How names are written into a zone (RFC 2136).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsSettings {
    /// The zone's server.
    pub server: SocketAddr,
    /// The zone.
    pub zone: DomainName,
    /// The name of the key, which signs by hmac-sha256.
    pub key_name: DomainName,
    /// The file with the key in base64, readable by its owner alone.
    pub key_file: PathBuf,
    /// The domains in which names may be; the zone where it is left out.
    pub domains: Option<BTreeSet<DomainName>>,
    /// How long answers may be remembered, in seconds: at most 60 for an address that may change.
    #[serde(default = "ttl_seconds")]
    pub ttl_seconds: u32,
    /// The name that CNAME records lead to.
    pub cname_target: Option<DomainName>,
    /// Write an address also when the internet does not know it.
    #[serde(default)]
    pub allow_private_address: bool,
    /// How often names that are as they should be are written again, in seconds.
    #[serde(default = "refresh_seconds")]
    pub refresh_seconds: u64,
}

fn ttl_seconds() -> u32 {
    60
}

fn refresh_seconds() -> u64 {
    600
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            enable: true,
            address: None,
            local_address: None,
            allowed_hosts: Vec::new(),
            protocols: None,
            lease_seconds: 3600,
            pulse_seconds: 20,
        }
    }
}

impl Default for FirewallSettings {
    fn default() -> Self {
        Self { enable: true, jump: None, refresh_seconds: 60 }
    }
}

/// Where the wish to publish comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of services.
    File(PathBuf),
    /// A node in Consul.
    Consul(ConsulSettings),
}

impl Settings {
    /// Reads the settings: of `explicit`, or of the file where it is looked for, if there is one; then the environment.
    pub fn load(explicit: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let mut settings = match config::load::<Self>(explicit, FILE_NAME) {
            Ok(loaded) => loaded.value,
            Err(config::ConfigError::Missing { .. }) => Self::default(),
            Err(error) => return Err(error.into()),
        };
        environment::apply(&mut settings, &variable)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        let gateway = &self.gateway;
        if !(120..=30 * 86_400).contains(&gateway.lease_seconds) {
            bail!(
                "gateway.lease_seconds (or the expiration time): {} s; expected 120 s to 30 days",
                gateway.lease_seconds
            );
        }
        if gateway.pulse_seconds == 0 || gateway.pulse_seconds * 2 > u64::from(gateway.lease_seconds) {
            bail!(
                "gateway.pulse_seconds (or the refresh time): {} s; expected 1 s to half of the lease, which is {} s",
                gateway.pulse_seconds,
                gateway.lease_seconds
            );
        }
        if let Some(dns) = &self.dns {
            if !(1..=60).contains(&dns.ttl_seconds) {
                bail!("dns.ttl_seconds: {} s; expected 1 s to 60 s", dns.ttl_seconds);
            }
            if dns.refresh_seconds == 0 {
                bail!("dns.refresh_seconds: 0 s; expected 1 s or more");
            }
        }
        if self.firewall.refresh_seconds == 0 {
            bail!("firewall.refresh_seconds: 0 s; expected 1 s or more");
        }
        Ok(())
    }

    /// The one source that is set.
    pub fn source(&self) -> anyhow::Result<Source> {
        match (&self.services, &self.consul) {
            (Some(path), None) => Ok(Source::File(path.clone())),
            (None, Some(consul)) => Ok(Source::Consul(consul.clone())),
            (Some(_), Some(_)) => bail!("both a file of services and Consul are set; expected one of them"),
            (None, None) => bail!(
                "nothing says what to publish: give --services FILE, set \"services\" or \"consul\" in {FILE_NAME}, or \
                 DIPLONAT_CONSUL_NODE_NAME in the environment"
            ),
        }
    }

    /// The name of this node.
    pub fn node(&self) -> anyhow::Result<String> {
        let of_consul = || self.consul.as_ref().and_then(|consul| consul.node.clone());
        match self.node.clone().or_else(of_consul) {
            Some(node) => Ok(node),
            None => {
                let name = nix::unistd::gethostname().context("this host's name cannot be read; set \"node\"")?;
                Ok(name.to_string_lossy().into_owned())
            }
        }
    }

    /// The node whose services are published.
    pub fn published_node(&self) -> anyhow::Result<String> {
        match self.consul.as_ref().and_then(|consul| consul.node.clone()) {
            Some(node) => Ok(node),
            None => self.node(),
        }
    }

    /// Where the journal of mappings lies.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| PathBuf::from("/var/lib/diplonat"))
    }

    /// Where the status is served.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| LISTEN.parse().expect("invariant: it is an address"))
    }

    /// How often the gateway is asked how it is.
    pub fn pulse(&self) -> Duration {
        Duration::from_secs(self.gateway.pulse_seconds)
    }
}
