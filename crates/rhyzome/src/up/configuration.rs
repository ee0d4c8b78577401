//! What each program is told: its configuration file, written anew at every start.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::layout::Layout;
use super::settings::Settings;

/// The names of the two targets that an installation on one machine has.
pub const ROUTER: &str = "router";
/// See [`ROUTER`].
pub const HYPERVISOR: &str = "hypervisor";

/// The core's configuration.
pub fn core(layout: &Layout, settings: &Settings) -> Value {
    json!({
        "data_dir": layout.folder("core"),
        "http": { "listen": settings.http },
        "jobs": { "listen": settings.jobs, "url": format!("https://{}", settings.jobs) },
        "tls": {
            "ca": layout.authority_certificate(),
            "cert": layout.certificate("core"),
            "key": layout.key("core"),
        },
        "authority_dir": layout.authority(),
        "pools": settings.pools,
        "wireguard_first_port": settings.wireguard_first_port,
    })
}

/// What `rhyzomectl` needs to know to work on this machine.
pub fn rhyzomectl(layout: &Layout, settings: &Settings) -> Value {
    json!({
        "url": format!("https://{}", settings.http),
        "ca": layout.authority_certificate(),
        "token_file": layout.secret("token"),
    })
}

/// Writes a configuration, for its owner alone, and gives its path.
pub fn write(layout: &Layout, program: &str, value: &Value) -> Result<PathBuf> {
    let path = layout.configuration(program);
    let text = format!("{value:#}\n");
    if config::file::read(&path).ok().as_ref() != Some(&text) {
        config::file::write_private(&path, text.as_bytes())?;
    }
    Ok(path)
}
