//! The configuration file of the program, and what it must say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use config::{FileError, Tls};
use ipnet::Ipv4Net;
use pki::{Alpn, ClientAuth, KeyedCertificate, PkiError, ServerConfig};
use serde::Deserialize;

use crate::account::Passwords;

/// The name of the configuration file where none is given.
pub const FILE: &str = "rhyzome-router.json";

/// The longest name of a network device.
const DEVICE_NAME_LIMIT: usize = 15;

/// What the configuration file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder of all that the router keeps.
    pub data_dir: PathBuf,
    /// The address of the API, outside the router's namespace. Port 0 takes a free one, written into `data_dir/address`.
    pub listen: SocketAddr,
    /// The certificate of the API. Without this key the router starts as OpenWrt comes out of the box with LuCI: a
    /// self-signed certificate, which config `uhttpd` names and can change, and for root the rights of LuCI.
    pub tls: Option<Tls>,
    /// The name of the router's network namespace, which is made if it is not there.
    pub netns: String,
    /// Who may log in, by name.
    #[serde(default)]
    pub users: BTreeMap<String, User>,
    /// The way out, if there is one.
    pub uplink: Option<Uplink>,
    /// The version of OpenWrt that the router says it is.
    #[serde(default = "release")]
    pub release: String,
}

/// The version whose interfaces the router has.
fn release() -> String {
    "24.10".to_owned()
}

/// Somebody who may log in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The file with the password, readable by its owner alone.
    pub password_file: PathBuf,
}

/// The router's way out: a pair of devices, one end in the router, and masquerade on the machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// The name of the machine's end.
    #[serde(default = "Uplink::default_interface")]
    pub interface: String,
    /// A net of four addresses: the machine has the first one in it, the router the second.
    #[serde(default = "Uplink::default_subnet")]
    pub subnet: Ipv4Net,
    /// The nftables table that holds the uplink's rules.
    #[serde(default = "Uplink::default_table")]
    pub table: String,
    /// The ports of the machine that lead into the router.
    #[serde(default)]
    pub forward: Forward,
    /// The name servers that the router asks; without this key, those of the machine that it can reach.
    pub dns: Option<Vec<IpAddr>>,
}

/// Ports, as numbers or as ranges like `"51820-51899"`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// TCP ports.
    #[serde(default)]
    pub tcp: Vec<PortRange>,
    /// UDP ports.
    #[serde(default)]
    pub udp: Vec<PortRange>,
}

/// A port or a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PortText")]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a port as a number, or a range as \"51820-51899\"")]
enum PortText {
    Number(u16),
    Text(String),
}

impl TryFrom<PortText> for PortRange {
    type Error = String;

    fn try_from(text: PortText) -> Result<Self, String> {
        let text = match text {
            PortText::Number(port) => {
                return PortRange::new(port, port).ok_or_else(|| "port 0 cannot be forwarded".to_owned());
            }
            PortText::Text(text) => text,
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let ports = first.parse().ok().zip(last.parse().ok());
        let range = ports.and_then(|(first, last)| PortRange::new(first, last));
        range.ok_or_else(|| format!("{text:?}: expected a range of ports as in \"51820-51899\""))
    }
}

impl PortRange {
    fn new(first: u16, last: u16) -> Option<Self> {
        (0 < first && first <= last).then_some(PortRange { first, last })
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl Uplink {
    fn default_interface() -> String {
        "rz-uplink".to_owned()
    }

    fn default_subnet() -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(10, 254, 254, 0), 30)
    }

    fn default_table() -> String {
        "rhyzome-uplink".to_owned()
    }

    /// The machine's address.
    #[must_use]
    pub fn machine_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()) + 1)
    }

    /// The router's address.
    #[must_use]
    pub fn router_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()) + 2)
    }
}

/// What is wrong with the settings, beyond what the file's form tells.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value that cannot be.
    #[error("{}: {key}: {value:?}: expected {expected}", .file.display())]
    Value {
        /// The configuration file.
        file: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A password cannot be read.
    #[error("users.{user}.password_file")]
    Password {
        /// The user.
        user: String,
        /// Why.
        #[source]
        source: Box<FileError>,
    },
    /// The certificate cannot be used.
    #[error("tls")]
    Tls(#[source] Box<PkiError>),
}

/// What the settings point at, read.
pub struct Ready {
    /// The passwords of the users.
    pub passwords: Passwords,
    /// The server's side of TLS, where the settings name a certificate.
    pub tls: Option<std::sync::Arc<ServerConfig>>,
}

impl Settings {
    /// Checks the values and reads the files that they point at. `file` is where they came from.
    ///
    /// # Errors
    /// Names the key, its value and what was expected.
    pub fn check(&self, file: &Path) -> Result<Ready, SettingsError> {
        let wrong = |key, value: &str, expected| {
            Err(SettingsError::Value { file: file.to_owned(), key, value: value.to_owned(), expected })
        };
        if !self.data_dir.is_absolute() {
            return wrong("data_dir", &self.data_dir.to_string_lossy(), "an absolute path");
        }
        if self.data_dir.starts_with("/run") || self.data_dir.starts_with("/var/run") {
            // The router's programs see another /run, and it does not outlive a boot.
            return wrong("data_dir", &self.data_dir.to_string_lossy(), "a path outside of /run");
        }
        if !is_word(&self.netns, 64) {
            return wrong("netns", &self.netns, "letters, digits, '-' and '_', 64 at most");
        }
        if let Some(uplink) = &self.uplink {
            if !is_word(&uplink.interface, DEVICE_NAME_LIMIT) {
                return wrong("uplink.interface", &uplink.interface, "letters, digits, '-' and '_', 15 at most");
            }
            if uplink.subnet.prefix_len() != 30 || uplink.subnet.addr() != uplink.subnet.network() {
                return wrong(
                    "uplink.subnet",
                    &uplink.subnet.to_string(),
                    "a net of four addresses, as in 10.254.254.0/30",
                );
            }
            if !is_word(&uplink.table, 64) || !uplink.table.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return wrong("uplink.table", &uplink.table, "a letter, and letters, digits, '-' and '_'");
            }
        }
        if let Some(user) = self.users.keys().find(|user| uci::SectionName::new(user.as_str()).is_err()) {
            return wrong("users", user, "letters, digits and '_' in a user's name");
        }
        let mut passwords = Passwords::default();
        for (user, User { password_file }) in &self.users {
            let password = config::file::read_secret(password_file)
                .map_err(|source| SettingsError::Password { user: user.clone(), source: Box::new(source) })?;
            if password.reveal().is_empty() {
                return wrong("users", user, "a password in the file, which is empty");
            }
            passwords.insert(user.clone(), password);
        }
        let unusable = |error| SettingsError::Tls(Box::new(error));
        let tls = match &self.tls {
            Some(tls) => {
                let keyed = KeyedCertificate::load(tls).map_err(unusable)?;
                Some(pki::server_config(keyed, &ClientAuth::None, Alpn::Http1).map_err(unusable)?)
            }
            None => None,
        };
        Ok(Ready { passwords, tls })
    }
}

fn is_word(text: &str, limit: usize) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.len() <= limit && !text.starts_with('-') && text.chars().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, config::ConfigError> {
        config::parse(text, Path::new("rhyzome-router.json"))
    }

    const MINIMAL: &str =
        r#""data_dir": "/d", "listen": "127.0.0.1:0", "tls": {"cert": "c", "key": "k"}, "netns": "n""#;

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let error = parse(&format!(r#"{{{MINIMAL}, "uplink": {{"interfase": "x"}}}}"#)).unwrap_err().to_string();
        assert!(error.contains(r#"unknown key "interfase" in uplink; did you mean "interface"?"#), "{error}");
    }

    #[test]
    fn ports_are_numbers_or_ranges() {
        let text = format!(r#"{{{MINIMAL}, "uplink": {{"forward": {{"udp": [53, "51820-51899"]}}}}}}"#);
        let uplink = parse(&text).unwrap().uplink.unwrap();
        assert_eq!(uplink.forward.udp[1], PortRange { first: 51820, last: 51899 });
        assert_eq!(uplink.router_address().to_string(), "10.254.254.2");
        let error = parse(&format!(r#"{{{MINIMAL}, "uplink": {{"forward": {{"tcp": ["9-8"]}}}}}}"#)).unwrap_err();
        assert!(error.to_string().contains("uplink.forward.tcp[0]"), "{error}");
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        let settings = parse(&format!("{{{}}}", MINIMAL.replace("\"n\"", "\"a/b\""))).unwrap();
        let Err(error) = settings.check(Path::new("f.json")) else { panic!("it was taken") };
        assert!(error.to_string().starts_with("f.json: netns: \"a/b\": expected letters"), "{error}");
    }
}
