//! The command line as a whole: one description gives parser, help and completions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;
use crate::output::Format;
use crate::session::Session;

/// Networks, machines and the way to them, from the command line
///
/// Data goes to stdout and messages to stderr. The exit code is 0 when it is done, 1 when it failed and 2 when the
/// command line is wrong.
#[derive(Parser, Debug)]
#[command(name = "rhyzomectl", version, propagate_version = true, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Globals {
    /// How data is printed
    #[arg(long, short = 'o', global = true, value_enum, default_value_t, help_heading = "Global options")]
    format: Format,
    /// The configuration, in place of those that are looked for
    #[arg(long, global = true, env = "RHYZOME_CTL_CONFIG", value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Private networks
    #[command(subcommand, visible_alias = "net")]
    Network(command::network::Command),
    /// Virtual machines
    #[command(subcommand, visible_alias = "vm")]
    Instance(command::instance::Command),
    /// Disks that instances are cloned from
    #[command(subcommand)]
    Image(command::image::Command),
    /// Devices that may enter networks by WireGuard
    #[command(subcommand)]
    Peer(command::peer::Command),
    /// What brings changes about
    #[command(subcommand, visible_alias = "op")]
    Operation(command::operation::Command),
    /// Routers and hypervisors and the agents that work them
    #[command(subcommand)]
    Agent(command::agent::Command),
    /// What happens
    #[command(subcommand)]
    Event(command::event::Command),
    /// Log in to an instance, or run a command in it; needs neither root nor WireGuard
    Ssh(command::ssh::Ssh),
    /// Carry a local TCP port to a port of an instance; needs neither root nor WireGuard
    Forward(command::forward::Forward),
    /// This machine's, or a phone's, own way into networks
    #[command(subcommand)]
    Wg(command::wg::Command),
    /// Show or choose the network of instances that name none
    DefaultNetwork(command::default_network::DefaultNetwork),
    /// Remember a server and how to sign in there
    Login(command::login::Login),
    /// Print completions for a shell
    Completions(command::completions::Completions),
    #[command(hide = true)]
    SshProxy(command::ssh_proxy::SshProxy),
    #[command(hide = true)]
    HoldNetwork(command::hold_network::HoldNetwork),
}

impl Cli {
    /// Does what the command line asks for.
    pub async fn run(self) -> anyhow::Result<()> {
        let Globals { format, config } = self.globals;
        let session = || Session::open(config.as_ref(), format);
        match self.command {
            Command::Network(command) => command.run(&session()?).await,
            Command::Instance(command) => command.run(&session()?).await,
            Command::Image(command) => command.run(session).await,
            Command::Peer(command) => command.run(&session()?).await,
            Command::Operation(command) => command.run(&session()?).await,
            Command::Agent(command) => command.run(&session()?).await,
            Command::Event(command) => command.run(&session()?).await,
            Command::Ssh(command) => command.run(&session()?).await,
            Command::Forward(command) => command.run(&session()?).await,
            Command::Wg(command) => command.run(&session()?).await,
            Command::DefaultNetwork(command) => command.run(&session()?).await,
            Command::Login(command) => command.run().await,
            Command::Completions(command) => command.run(),
            Command::SshProxy(command) => command.run().await,
            Command::HoldNetwork(command) => command.run().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
