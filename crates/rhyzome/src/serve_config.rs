//! The configuration of `rhyzome serve`: `rhyzome.json`.

mod database;
mod http;
mod metrics;

use std::net::SocketAddr;
use std::path::PathBuf;

use config::Tls;
use jobs::CoreUrl;
use serde::Deserialize;
use types::{Port, Subnet};

pub use database::DatabaseConfig;
pub use http::{Allowance, HttpConfig, Rate};
pub use metrics::MetricsConfig;

use crate::image_source::PrivateSources;
use crate::segment::Segments;

/// The file's name where none is given.
pub const FILE_NAME: &str = "rhyzome.json";

/// What `rhyzome serve` and `rhyzome admin` are told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// Where the database's key, the images and, where nothing else is said, the database lie.
    pub data_dir: PathBuf,
    /// Which database.
    #[serde(default)]
    pub database: DatabaseConfig,
    /// The HTTP API.
    pub http: HttpConfig,
    /// Figures for Prometheus; none are kept when left out.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// The server that agents dial.
    pub jobs: JobsConfig,
    /// The server's certificate, for both.
    pub tls: Tls,
    /// The folder of the CA that signs agents' certificates.
    pub authority_dir: PathBuf,
    /// Where addresses are taken from.
    #[serde(default)]
    pub pools: Pools,
    /// How networks' layer 2 reaches hypervisors.
    #[serde(default)]
    pub segments: Segments,
    /// The WireGuard port of slot 1 on every router; slot n has the port n - 1 above it.
    #[serde(default = "wireguard_first_port")]
    pub wireguard_first_port: Port,
    /// The largest image file that is taken, in bytes.
    #[serde(default = "image_limit")]
    pub image_limit: u64,
    /// How many bytes the images' files of one tenant may have in all; no bound when left out.
    #[serde(default)]
    pub image_quota: Option<u64>,
    /// Whether images are fetched from private addresses too: all, or those in a list of networks.
    #[serde(default)]
    pub allow_private_image_sources: PrivateSources,
}

/// Where agents dial.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// What invitations tell agents to dial.
    pub url: CoreUrl,
}

/// Where addresses are taken from that nobody asked for by number.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pools {
    /// Networks' subnets.
    pub networks: Subnet,
    /// Peers' addresses; no network may overlap it.
    pub peers: Subnet,
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            networks: "10.64.0.0/12".parse().expect("invariant: a subnet"),
            peers: "10.80.0.0/16".parse().expect("invariant: a subnet"),
        }
    }
}

fn wireguard_first_port() -> Port {
    Port::try_from(51_820).expect("invariant: a port")
}

fn image_limit() -> u64 {
    64 << 30
}

impl ServeConfig {
    /// The key that seals the database's secrets; never in a backup of the database.
    pub fn secret_key(&self) -> PathBuf {
        self.data_dir.join("secret.key")
    }

    /// Where images' files lie.
    pub fn images(&self) -> PathBuf {
        self.data_dir.join("images")
    }
}
