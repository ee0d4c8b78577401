//! `rhyzomectl ssh`.

use std::net::SocketAddrV4;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow};
use api::{Instance, Reference};
use clap::Args;
use types::InstanceId;

use super::resource::find;
use crate::access::Access;
use crate::key::LoginKey;
use crate::known_host;
use crate::output::say;
use crate::readiness::{Guest, await_guest, may_be_starting, refuse_hopeless};
use crate::session::Session;
use crate::value::duration;

/// The port of SSH.
const PORT: u16 = 22;
/// For how long to try where nothing listens: briefly, and longer where the guest has just come up.
const PATIENCE: [&str; 2] = ["5s", "60s"];

/// Log in to an instance, or run a command in it.
///
/// The exit code is that of the remote command, or 255 when there was no way to it.
#[derive(Args, Debug)]
pub struct Ssh {
    /// The instance by name or id, with user@ before it where that is not the usual one
    #[arg(value_name = "[USER@]INSTANCE")]
    instance: String,
    /// Whom to log in as [login_user of the configuration; root]
    #[arg(long, short, value_name = "USER")]
    login: Option<String>,
    /// An option for OpenSSH, as in ssh_config(5); may be given several times
    #[arg(long = "option", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// A terminal for the command, too
    #[arg(long, short)]
    tty: bool,
    /// How long to wait for a guest that is just starting
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = duration)]
    timeout: Duration,
    /// The command, and whatever it takes
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Ssh {
    /// Becomes OpenSSH's client, which talks through the tunnel.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        let (user, name) = match self.instance.rsplit_once('@') {
            Some((user, name)) => (Some(user.to_owned()), name),
            None => (None, self.instance.as_str()),
        };
        let which: Reference<InstanceId> = name.parse()?;
        let user = self.login.clone().or(user).unwrap_or_else(|| session.settings.login_user().to_owned());
        let instance: Instance = find(session, &which).await?;
        refuse_hopeless(&instance)?;
        let is_new = may_be_starting(&instance);
        let instance = match is_new {
            true => self.await_guest(session, &which).await?,
            false => instance,
        };
        let way = Way::to(session, &instance).await?;
        Err(way.ssh(&self, &user, &instance, PATIENCE[usize::from(is_new)])?)
    }

    async fn await_guest(&self, session: &Session, which: &Reference<InstanceId>) -> anyhow::Result<Instance> {
        match await_guest(session, which, self.timeout).await? {
            Guest::Reported(instance) => Ok(*instance),
            Guest::Silent(instance, _) => {
                say(&format!("the guest of instance {} has not said that it is up; trying anyway", instance.name));
                Ok(*instance)
            }
        }
    }
}

/// All that OpenSSH is told.
struct Way {
    passage: std::path::PathBuf,
    remote: SocketAddrV4,
    known_hosts: std::path::PathBuf,
    identity: std::path::PathBuf,
    more_identities: Vec<std::path::PathBuf>,
}

impl Way {
    async fn to(session: &Session, instance: &Instance) -> anyhow::Result<Self> {
        let address = instance.status.address;
        let address = address.with_context(|| format!("instance {} has no address", instance.name))?;
        let network = instance.spec.network.id().context("the server did not give the network's id")?;
        let known_hosts = known_host::write(instance, &session.home)?;
        let passage = Access::of(&session.home)?.passage(&session.client, network).await?;
        let of_user = session.home.ssh_public_keys().into_iter().map(|key| key.with_extension(""));
        Ok(Self {
            passage: passage.place.passage(),
            remote: SocketAddrV4::new(address.ip(), PORT),
            known_hosts,
            identity: LoginKey::of(&session.home)?.file,
            more_identities: of_user.filter(|key| key.exists()).collect(),
        })
    }

    /// Becomes `ssh`; comes back with the reason where that fails.
    fn ssh(&self, asked: &Ssh, user: &str, instance: &Instance, patience: &str) -> anyhow::Result<anyhow::Error> {
        let own = std::env::current_exe().context("cannot find the own program")?;
        let proxy =
            format!("{} ssh-proxy {} {} --patience {patience}", quoted(&own), quoted(&self.passage), self.remote);
        let mut ssh = Command::new("ssh");
        // The user's ssh_config is left aside: nothing in it is about this machine, and much could be in the way.
        ssh.args(["-F", "none"]);
        for option in &asked.options {
            ssh.args(["-o", option]);
        }
        ssh.arg("-o").arg(format!("ProxyCommand={proxy}"));
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", config_quoted(&self.known_hosts)));
        ssh.args(["-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no"]);
        ssh.arg("-o").arg(format!("HostKeyAlias={}", instance.id));
        ssh.args(["-o", "IdentitiesOnly=yes", "-o", "ServerAliveInterval=15"]);
        for identity in [&self.identity].into_iter().chain(&self.more_identities) {
            ssh.arg("-i").arg(identity);
        }
        ssh.args(["-l", user]);
        if asked.tty {
            ssh.arg("-t");
        }
        ssh.arg("--").arg(instance.name.as_str()).args(&asked.command);
        let error = ssh.exec();
        Ok(match error.kind() {
            std::io::ErrorKind::NotFound => {
                anyhow!("there is no ssh; install OpenSSH's client (package openssh-client)")
            }
            _ => anyhow::Error::from(error).context("cannot run ssh"),
        })
    }
}

/// A path as a word of the shell, in an option in which `%` begins a token (ssh_config(5), TOKENS).
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\'', "'\\''").replace('%', "%%");
    format!("'{text}'")
}

/// A path as one word of an option of ssh_config(5).
fn config_quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_stay_one_word() {
        assert_eq!(quoted(Path::new("/a b/it's 5%")), r"'/a b/it'\''s 5%%'");
        assert_eq!(config_quoted(Path::new("/a b/5%")), "\"/a b/5%%\"");
    }
}
