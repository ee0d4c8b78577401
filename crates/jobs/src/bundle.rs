//! Invitations for many targets in one private file, as `rhyzome admin agent bundle` makes it and `rhyzome-sim` takes it.

use std::path::Path;

use config::{ConfigError, FileError};
use serde::{Deserialize, Serialize};
use types::SecretText;

/// One target's invitation.
pub struct Invited {
    /// What the target is.
    pub kind: InvitedKind,
    /// The target's name.
    pub name: String,
    /// The invitation's text form, which holds its secret.
    pub invitation: SecretText,
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvitedKind {
    /// A router.
    Router,
    /// A hypervisor.
    Hypervisor,
}

impl InvitedKind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Hypervisor => "hypervisor",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<Text> {
    invitations: Vec<Entry<Text>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<Text> {
    kind: InvitedKind,
    name: String,
    invitation: Text,
}

/// Writes a bundle for its owner alone.
pub fn write(path: &Path, invited: &[Invited]) -> Result<(), FileError> {
    let entry = |one: &Invited| Entry {
        kind: one.kind,
        name: one.name.clone(),
        invitation: one.invitation.reveal().to_owned(),
    };
    let file = File { invitations: invited.iter().map(entry).collect() };
    let text = SecretText::new(serde_json::to_string(&file).expect("invariant: texts are JSON"));
    config::file::write_private(path, format!("{}\n", text.reveal()).as_bytes())
}

/// Reads a bundle, which nobody but its owner may read.
pub fn read(path: &Path) -> Result<Vec<Invited>, ConfigError> {
    let text = config::file::read_secret(path)?;
    let file: File<String> = config::parse(text.reveal(), path)?;
    let invited = |entry: Entry<String>| Invited {
        kind: entry.kind,
        name: entry.name,
        invitation: SecretText::new(entry.invitation),
    };
    Ok(file.invitations.into_iter().map(invited).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_bundle_is_read_as_it_was_written_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle.json");
        let one = |kind, name: &str| Invited {
            kind,
            name: name.to_owned(),
            invitation: SecretText::new("rzi1.x".to_owned()),
        };
        write(&path, &[one(InvitedKind::Router, "a"), one(InvitedKind::Hypervisor, "b")]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read_back = read(&path).unwrap();
        let named: Vec<_> = read_back.iter().map(|one| (one.kind.word(), one.name.as_str())).collect();
        assert_eq!(named, [("router", "a"), ("hypervisor", "b")]);
        assert_eq!(read_back[0].invitation.reveal(), "rzi1.x");
    }
}
