//! The agent's configuration, `rhyzome-openwrt.json`.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use jobs::agent::AgentConfig;
use serde::Deserialize;

use crate::segment::Segments;
use crate::zone::ZoneName;

/// The name of the file.
pub const FILE_NAME: &str = "rhyzome-openwrt.json";

/// What stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The agent's way to the core.
    pub agent: AgentConfig,
    /// The router.
    pub router: RouterConfig,
    /// How segments reach the router.
    pub segments: Segments,
    /// Where peers reach the router from outside, a name or an address; the first address of `wan_interface` when left
    /// out.
    pub endpoint_host: Option<String>,
    /// The firewall zone of the way out.
    #[serde(default)]
    pub wan_zone: ZoneName,
    /// The interface of the way out.
    #[serde(default = "wan")]
    pub wan_interface: String,
}

/// How the router is reached.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// Its ubus, as in `https://192.168.1.1/ubus`; on the router itself `ubus:///var/run/ubus/ubus.sock`.
    pub url: String,
    /// The certificate of the CA that the router's certificate must come from, in PEM; for HTTPS.
    pub ca: Option<PathBuf>,
    /// The user of rpcd.
    pub username: String,
    /// The file with its password, readable by its owner alone.
    pub password_file: PathBuf,
    /// How long the router waits for the confirmation of a change before it undoes it.
    #[serde(default = "rollback_timeout_seconds")]
    pub rollback_timeout_seconds: RollbackTimeout,
    /// How long a call may take, in seconds.
    #[serde(default = "call_timeout_seconds")]
    pub call_timeout_seconds: NonZeroU8,
    /// The file that all our programs on this machine lock while they change the router.
    #[serde(default = "lock_file")]
    pub lock_file: PathBuf,
}

/// How long the router waits for a confirmation: 10 to 600 s. netifd may take some seconds to act at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct RollbackTimeout(u16);

impl RollbackTimeout {
    /// The time.
    pub fn get(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<u16> for RollbackTimeout {
    type Error = String;
    fn try_from(seconds: u16) -> Result<Self, String> {
        match (10..=600).contains(&seconds) {
            true => Ok(Self(seconds)),
            false => Err(format!("{seconds} is no rollback timeout; expected 10 to 600 seconds")),
        }
    }
}

fn wan() -> String {
    "wan".to_owned()
}

/// What LuCI itself asks for.
fn rollback_timeout_seconds() -> RollbackTimeout {
    RollbackTimeout(90)
}

/// A router that is busy reloading answers late.
fn call_timeout_seconds() -> NonZeroU8 {
    NonZeroU8::new(30).expect("invariant: thirty is not zero")
}

fn lock_file() -> PathBuf {
    PathBuf::from("/run/rhyzome-router.lock")
}
