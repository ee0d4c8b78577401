//! Commands that run on the router, through `file exec`. Each has a line in `acl/rhyzome.json`.

use std::fmt;

/// Sets and shows WireGuard peers.
pub const WG: &str = "/usr/bin/wg";
/// Sets and shows routes and rules.
pub const IP: &str = "/sbin/ip";
/// Shows the firewall.
pub const NFT: &str = "/usr/sbin/nft";

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Command {
    /// The command of `program` with `arguments`, which are separated by single spaces and hold none.
    pub fn new(program: &'static str, arguments: &str) -> Self {
        Self { program, arguments: arguments.split(' ').map(str::to_owned).collect() }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.program, self.arguments.join(" "))
    }
}
