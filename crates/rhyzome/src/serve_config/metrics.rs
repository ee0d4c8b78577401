//! The part of `rhyzome.json` about figures for Prometheus.

use std::net::SocketAddr;

use serde::Deserialize;

/// Where figures are served, without TLS and without a token: to those who reach the address.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address and port, on loopback unless said otherwise.
    pub listen: SocketAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}
