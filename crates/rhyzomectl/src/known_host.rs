//! Host keys of instances, as OpenSSH wants to be told them.

use std::path::PathBuf;

use anyhow::Context;
use api::Instance;

use crate::home::Home;

/// Writes the one line that says what key the instance has; gives the file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
pub fn write(instance: &Instance, home: &Home) -> anyhow::Result<PathBuf> {
    let key = instance.status.host_key.as_ref().with_context(|| {
        format!("the host key of instance {} is not known yet; try again in a moment", instance.name)
    })?;
    let file = home.state_directory("known-hosts")?.join(instance.id.to_string());
    let line = format!("{} {}\n", instance.id, key.without_comment());
    if std::fs::read_to_string(&file).is_ok_and(|text| text == line) {
        return Ok(file);
    }
    config::file::write_private(&file, line.as_bytes())?;
    Ok(file)
}

/// Forgets the key of an instance that is gone.
pub fn forget(instance: &Instance, home: &Home) -> anyhow::Result<()> {
    let file = home.state_directory("known-hosts")?.join(instance.id.to_string());
    Ok(config::file::remove(&file)?)
}
