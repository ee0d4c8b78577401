//! The agent's configuration, `rhyzome-libvirt.json`.

use std::path::PathBuf;

use jobs::AgentConfig;
use serde::Deserialize;
use types::HostAddr;

use crate::capacity::CapacitySettings;

/// The configuration's file name, looked up in the working directory and then in /etc/rhyzome.
pub const FILE_NAME: &str = "rhyzome-libvirt.json";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The agent's part: its own directory, the core, the invitation.
    pub agent: AgentConfig,
    /// Where libvirt is, as in `qemu+unix:///system?socket=/run/libvirt/libvirt-sock`.
    #[serde(default = "system_libvirt")]
    pub libvirt_uri: String,
    /// Where images and disks lie.
    pub storage_dir: PathBuf,
    /// How machines are run.
    #[serde(default)]
    pub accelerator: AcceleratorSetting,
    /// The network namespace of an embedded router on this host, to which segments are joined.
    #[serde(default)]
    pub router_netns: Option<String>,
    /// The interface that carries VLANs to the router and to other hosts.
    #[serde(default)]
    pub trunk: Option<String>,
    /// This host's address in the network that carries VXLANs to the router and to other hosts.
    #[serde(default)]
    pub underlay: Option<HostAddr>,
    /// How long a guest may take to shut down before it is switched off.
    #[serde(default = "thirty")]
    pub shutdown_seconds: u32,
    /// How long libvirt may take for one call.
    #[serde(default = "two_minutes")]
    pub libvirt_deadline_seconds: u32,
    /// How much of the host instances may have.
    #[serde(default)]
    pub capacity: CapacitySettings,
}

/// How machines are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceleratorSetting {
    /// By KVM where a guest was seen to run under it, by translation otherwise.
    #[default]
    Auto,
    /// By KVM.
    Kvm,
    /// By translation.
    Tcg,
}

impl Configuration {
    /// What no type can say: names the first key whose value cannot be used.
    pub fn check(&self) -> anyhow::Result<()> {
        // Paths and names become words of XML, of QEMU's command line and of `ip`.
        let printable = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        let storage = self.storage_dir.to_str().unwrap_or_default();
        anyhow::ensure!(
            self.storage_dir.is_absolute() && printable(storage) && !storage.contains(','),
            "storage_dir: {:?} is not an absolute path of printable characters without commas",
            self.storage_dir
        );
        if let Some(name) = &self.router_netns {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            anyhow::ensure!(
                name.bytes().all(plain) && !matches!(name.as_str(), "" | "." | ".."),
                "router_netns: {name:?} is not the name of a network namespace (letters, digits, dots and hyphens)"
            );
        }
        if let Some(trunk) = &self.trunk {
            // Linux takes anything but slashes and spaces; these become words of `ip`.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            anyhow::ensure!(
                (1..=15).contains(&trunk.len()) && trunk.bytes().all(plain) && !trunk.starts_with(['-', '.']),
                "trunk: {trunk:?} is not the name of an interface (15 letters, digits, dots and hyphens at most)"
            );
        }
        Ok(())
    }
}

fn system_libvirt() -> String {
    "qemu:///system".to_owned()
}

fn two_minutes() -> u32 {
    120
}

fn thirty() -> u32 {
    30
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Configuration {
        config::parse(text, Path::new(FILE_NAME)).unwrap()
    }

    #[test]
    fn defaults_are_for_a_host_with_libvirt() {
        let read = parse(r#"{"agent": {"state_dir": "/s"}, "storage_dir": "/d"}"#);
        assert_eq!(read.libvirt_uri, "qemu:///system");
        assert_eq!(read.accelerator, AcceleratorSetting::Auto);
        read.check().unwrap();
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (text, key) in [
            (r#"{"agent": {"state_dir": "/s"}, "storage_dir": "d"}"#, "storage_dir"),
            (r#"{"agent": {"state_dir": "/s"}, "storage_dir": "/a,b"}"#, "storage_dir"),
            (r#"{"agent": {"state_dir": "/s"}, "storage_dir": "/d", "router_netns": "../x"}"#, "router_netns"),
            (r#"{"agent": {"state_dir": "/s"}, "storage_dir": "/d", "trunk": "eth0 up"}"#, "trunk"),
        ] {
            let error = parse(text).check().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
