//! Who may log in, what runs at which time, and which software is wanted.

use types::SshPublicKey;

use super::source::Item;
use super::{DocumentError, Source};
use crate::sealed::is_sealed;

/// An SSH key that may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    /// The key as one line of `authorized_keys`.
    pub line: String,
}

/// The hash of a user's password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// The user.
    pub user: String,
    /// The hash as in `/etc/shadow`.
    pub hash: String,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PasswordHash({})", self.user)
    }
}

/// Something that runs at times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronJob {
    /// When: five fields.
    pub schedule: String,
    /// What.
    pub command: String,
}

/// Software that should be there, or should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPackage {
    /// Its name.
    pub name: String,
    /// Whether it should be there.
    pub is_wanted: bool,
}

/// `config key` with `key`.
pub(super) fn keys(source: &Source<'_>) -> Result<Vec<SshKey>, DocumentError> {
    each(source, "key", &["key"], |item| {
        let line = item.needed("key", "a line as in authorized_keys")?.trim();
        let expected = "does not do: expected a public key as ssh-keygen writes it, in one line";
        let is_key = line.parse::<SshPublicKey>().is_ok() && !line.contains(['\n', '\r']);
        is_key.then(|| SshKey { line: line.to_owned() }).ok_or_else(|| item.error(Some("key"), expected))
    })
}

/// `config password` with `user` and `hash`.
pub(super) fn passwords(source: &Source<'_>) -> Result<Vec<PasswordHash>, DocumentError> {
    each(source, "password", &["user", "hash"], |item| {
        let user = item.text("user")?.unwrap_or("root");
        let is_user = user.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) && !user.is_empty();
        if !is_user {
            return Err(item.error(Some("user"), format!("{user:?} does not do: expected the name of a user")));
        }
        let hash = item.needed("hash", "a hash as in /etc/shadow")?;
        if is_sealed(hash) {
            return Ok(PasswordHash { user: user.to_owned(), hash: hash.to_owned() });
        }
        let is_hash = hash.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        let is_known = ["$1$", "$5$", "$6$", "$y$", "$2y$", "$2b$"].iter().any(|prefix| hash.starts_with(prefix));
        match is_hash && (is_known || matches!(hash, "*" | "!")) {
            true => Ok(PasswordHash { user: user.to_owned(), hash: hash.to_owned() }),
            // The text may be a password: it is not repeated.
            false => Err(item.error(Some("hash"), "is no hash: expected one as in /etc/shadow, as in $6$salt$…")),
        }
    })
}

/// `config job` with `schedule` and `command`.
pub(super) fn cron(source: &Source<'_>) -> Result<Vec<CronJob>, DocumentError> {
    each(source, "job", &["schedule", "command"], |item| {
        let schedule = item.needed("schedule", "five fields, as in */5 * * * *")?;
        let fields: Vec<&str> = schedule.split_ascii_whitespace().collect();
        let is_field = |field: &&str| field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*/,-".contains(&b));
        if fields.len() != 5 || !fields.iter().all(is_field) {
            let problem = format!("{schedule:?} does not do: expected five fields, as in */5 * * * *");
            return Err(item.error(Some("schedule"), problem));
        }
        let command = item.needed("command", "what to run")?;
        if command.contains(['\n', '\r']) {
            return Err(item.error(Some("command"), "has several lines: expected one"));
        }
        Ok(CronJob { schedule: fields.join(" "), command: command.to_owned() })
    })
}

/// `config packages` with lists `wanted` and `unwanted`.
pub(super) fn packages(source: &Source<'_>) -> Result<Vec<WantedPackage>, DocumentError> {
    let of_one = each(source, "packages", &["wanted", "unwanted"], |item| {
        let mut packages = Vec::new();
        for (option, is_wanted) in [("wanted", true), ("unwanted", false)] {
            for name in item.texts(option) {
                let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.+".contains(&b));
                if !is_name || name.is_empty() || name.starts_with('-') {
                    return Err(
                        item.error(Some(option), format!("{name:?} does not do: expected the name of a package"))
                    );
                }
                packages.push(WantedPackage { name: name.clone(), is_wanted });
            }
        }
        Ok(packages)
    })?;
    Ok(of_one.concat())
}

fn each<T>(
    source: &Source<'_>,
    kind: &str,
    known: &[&str],
    read: impl Fn(&Item<'_>) -> Result<T, DocumentError>,
) -> Result<Vec<T>, DocumentError> {
    let of_one = |item: Item<'_>| {
        if item.section.kind().as_str() != kind {
            return Err(item.unknown_kind(kind));
        }
        item.only(known)?;
        read(&item)
    };
    source.items().map(of_one).collect()
}
