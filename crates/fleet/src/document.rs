//! What the content of a section says.
//!
//! Every content is UTF-8 text in UCI's syntax, as its author wrote it, comments included. What follows the scope in the
//! section's path says what the text is about: `config/<package>` is configuration, and the words of [`Kind`] are the rest.

mod account;
mod action;
mod configuration;
mod execute;
mod file;
mod policy;
mod source;

use std::collections::BTreeMap;
use std::fmt;

use uci::{OptionName, PackageName, Value};

use crate::SectionPath;

pub use account::{CronJob, PasswordHash, SshKey, WantedPackage};
pub use action::{Action, Deed};
pub use configuration::{ConfigDocument, Extent, Selector, Wanted, WantedSection};
pub use execute::RunsCode;
pub use file::WantedFile;
pub use policy::{ApplyPolicy, DriftMode, Hook, Match, Policy, Probe, ProbeKind, When};
pub use source::{DocumentError, Place};

pub(crate) use execute::is_code;
pub(crate) use source::Source;

/// The longest content, in bytes.
pub const LONGEST: usize = 256 * 1024;

/// What a section is about, by its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `config/<package>`: configuration of a package.
    Config(PackageName),
    /// `template/<package>`: sections of a package to make others of.
    Template(PackageName),
    /// `files` or `files/<name>`: whole files.
    Files,
    /// `keys`: SSH keys that may log in.
    Keys,
    /// `passwords`: hashes of passwords.
    Passwords,
    /// `cron`: jobs at times.
    Cron,
    /// `packages`: software that should be there, or should not.
    Packages,
    /// `actions/<name>`: something to do once.
    Action,
    /// `variables`: what stands for `${name}`.
    Variables,
    /// `policy`: how devices apply, what they look at, what they do on drift.
    Policy,
}

impl Kind {
    /// What the section is about, if it is about a device's configuration at all.
    ///
    /// # Errors
    /// When the path is meant for configuration and is no good for it.
    pub fn of(path: &SectionPath) -> Result<Option<Self>, DocumentError> {
        if path.as_str().starts_with("users/") {
            return Ok(None);
        }
        let (word, name) = path.rest().split_once('/').map_or((path.rest(), None), |(word, name)| (word, Some(name)));
        let package = |name: &str| {
            PackageName::new(name).map_err(|error| DocumentError::of(path, Place::default(), error.to_string()))
        };
        Ok(Some(match (word, name) {
            ("config", Some(name)) => Self::Config(package(name)?),
            ("template", Some(name)) => Self::Template(package(name)?),
            ("files", _) => Self::Files,
            ("keys", None) => Self::Keys,
            ("passwords", None) => Self::Passwords,
            ("cron", None) => Self::Cron,
            ("packages", None) => Self::Packages,
            ("actions", Some(_)) => Self::Action,
            ("variables", None) => Self::Variables,
            ("policy", None) => Self::Policy,
            _ => return Ok(None),
        }))
    }
}

/// What the content of a section says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Configuration of a package.
    Config(ConfigDocument),
    /// Sections of a package to make others of.
    Template(ConfigDocument),
    /// Whole files.
    Files(Vec<WantedFile>),
    /// SSH keys that may log in.
    Keys(Vec<SshKey>),
    /// Hashes of passwords.
    Passwords(Vec<PasswordHash>),
    /// Jobs at times.
    Cron(Vec<CronJob>),
    /// Software.
    Packages(Vec<WantedPackage>),
    /// Something to do once.
    Action(Action),
    /// What stands for `${name}`.
    Variables(BTreeMap<OptionName, Variable>),
    /// How devices apply.
    Policy(Box<Policy>),
}

/// A value that stands for `${name}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// The value.
    pub value: Value,
    /// Whether people are shown it masked.
    pub is_secret: bool,
}

impl fmt::Debug for Variable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_secret {
            true => out.write_str("(secret)"),
            false => self.value.fmt(out),
        }
    }
}

impl Document {
    /// Reads the content of a section; nothing where it is not about a device's configuration.
    ///
    /// # Errors
    /// Names section, line, option and what was expected.
    pub fn parse(path: &SectionPath, content: &[u8]) -> Result<Option<Self>, DocumentError> {
        let Some(kind) = Kind::of(path)? else { return Ok(None) };
        let name = match &kind {
            Kind::Config(package) | Kind::Template(package) => package.clone(),
            _ => PackageName::new("dusk").expect("invariant: a name"),
        };
        let source = Source::read(path, name, content)?;
        Ok(Some(match kind {
            Kind::Config(_) => Self::Config(ConfigDocument::read(&source)?),
            Kind::Template(_) => Self::Template(ConfigDocument::read(&source)?),
            Kind::Files => Self::Files(file::read(&source)?),
            Kind::Keys => Self::Keys(account::keys(&source)?),
            Kind::Passwords => Self::Passwords(account::passwords(&source)?),
            Kind::Cron => Self::Cron(account::cron(&source)?),
            Kind::Packages => Self::Packages(account::packages(&source)?),
            Kind::Action => Self::Action(action::read(&source)?),
            Kind::Variables => Self::Variables(variables(&source)?),
            Kind::Policy => Self::Policy(Box::new(policy::read(&source)?)),
        }))
    }
}

/// `config variables` holds what all may see, `config secrets` what is masked.
fn variables(source: &Source<'_>) -> Result<BTreeMap<OptionName, Variable>, DocumentError> {
    let mut variables = BTreeMap::new();
    for item in source.items() {
        let is_secret = match item.section.kind().as_str() {
            "variables" => false,
            "secrets" => true,
            _ => return Err(item.unknown_kind("variables or secrets")),
        };
        for (name, value) in item.section.options() {
            let variable = Variable { value: value.clone(), is_secret };
            if variables.insert(name.clone(), variable).is_some() {
                return Err(item.error(Some(name.as_str()), "stands here twice: expected each variable once"));
            }
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests;
