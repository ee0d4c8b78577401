//! SSH public keys.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// One line of an `authorized_keys` file (sshd(8)) without options: algorithm, key, comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshPublicKey(ssh_key::PublicKey);

impl SshPublicKey {
    /// The key without its comment, as `known_hosts` wants it.
    pub fn without_comment(&self) -> String {
        self.to_string().split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for SshPublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.to_openssh().map_err(|_| fmt::Error)?)
    }
}

impl FromStr for SshPublicKey {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse =
            || ParseError::new(text, "an SSH public key (as in \"ssh-ed25519 AAAA… comment\", one line, no options)");
        if text.chars().any(char::is_control) || text.len() > 16_384 {
            return Err(refuse());
        }
        ssh_key::PublicKey::from_openssh(text).map(Self).map_err(|_| refuse())
    }
}

text_type!(
    SshPublicKey,
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.org",
    "An SSH public key: one line of authorized_keys without options."
);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.org";

    #[test]
    fn a_key_round_trips_with_its_comment() {
        let key: SshPublicKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert!(!key.without_comment().contains("user@"));
    }

    #[test]
    fn options_and_second_lines_are_refused() {
        assert!(format!("command=\"x\" {KEY}").parse::<SshPublicKey>().is_err());
        assert!(format!("{KEY}\n{KEY}").parse::<SshPublicKey>().is_err());
        assert!("ssh-ed25519 AAAA".parse::<SshPublicKey>().is_err());
    }
}
