//! What the state machine asks of the machine beneath: its interfaces, leases, files and commands.

use crate::acl::Grants;

/// A question; the answer to it is the answer to a ubus call.
#[derive(Debug)]
pub enum Question {
    /// All interfaces (`network.interface dump`).
    Interfaces,
    /// One interface (`network.interface status`).
    Interface(String),
    /// Take an interface down or bring it up anew, with all that its config says.
    Switch {
        /// The interface.
        interface: String,
        /// Where it is to go.
        to: Target,
    },
    /// One device, or all of them (`network.device status`).
    Device(Option<String>),
    /// The services that are processes, one of them or all (`service list`).
    Services(Option<String>),
    /// The DHCP leases (`luci-rpc getDHCPLeases`), of one IP version or both.
    Leases {
        /// Whether to tell the IPv4 leases.
        ipv4: bool,
        /// Whether to tell the IPv6 leases.
        ipv6: bool,
    },
    /// The WireGuard interfaces and their peers (`luci.wireguard getWgInstances`).
    WireGuard,
    /// A new WireGuard key pair.
    KeyPair,
    /// What machine this is (`system board`).
    Board,
    /// How it fares (`system info`).
    Info,
    /// Something about a file, which the session may do.
    File(FileQuestion),
    /// A command, which the session may run if these grants say so.
    Exec(ExecQuestion),
}

/// Where an interface is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Up, set up anew.
    Up,
    /// Down.
    Down,
}

/// Something to do with the file at an absolute, normalised path.
#[derive(Debug)]
pub struct FileQuestion {
    /// The path.
    pub path: String,
    /// What to do.
    pub action: FileAction,
}

/// What to do with a file.
#[derive(Debug)]
pub enum FileAction {
    /// Read it.
    Read(Encoding),
    /// Write it.
    Write {
        /// What to write.
        data: Vec<u8>,
        /// Whether what is there stays before it.
        append: bool,
        /// The mode to give it.
        mode: Option<u32>,
    },
    /// List the folder.
    List,
    /// Tell its type, size, mode and times.
    Stat,
    /// Hash it.
    Md5,
    /// Remove it.
    Remove,
}

/// How bytes stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As text.
    Plain,
    /// As base64.
    Base64,
}

/// A command to run.
#[derive(Debug)]
pub struct ExecQuestion {
    /// A path, or a name to look up.
    pub command: String,
    /// Its arguments.
    pub params: Vec<String>,
    /// What the session may do: the command must be in scope `file` as `exec`, by itself or with its arguments.
    pub grants: Grants,
}

impl ExecQuestion {
    /// Whether the session may run the program at `path` with these arguments.
    #[must_use]
    pub fn allowed(&self, path: &str) -> bool {
        let mut line = path.to_owned();
        for param in &self.params {
            line.push(' ');
            line.push_str(param);
        }
        self.grants.allow("file", path, "exec") || self.grants.allow("file", &line, "exec")
    }
}
