//! The configuration that a device should have: what its layers say, with templates, variables and hardware put in.

mod hardware;
mod resolve;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use uci::{Config, OptionName, PackageName, SectionName, SectionType, Value};

use crate::document::is_code;
use crate::document::{
    Action, ConfigDocument, CronJob, Document, DocumentError, DriftMode, Extent, Hook, Kind, PasswordHash, Place,
    Probe, SshKey, WantedFile, WantedPackage, WantedSection,
};
use crate::ground::Ground;
use crate::layer::{self, Member, Origin, Placed};
use crate::sealed::{self, Opener};
use crate::variable::{Filled, Variables, has_variables};

use resolve::{Resolved, Resolver};
use template::Templates;

/// How long a change may take to be confirmed where no policy says it, in seconds.
pub const DEADLINE: u32 = 90;

/// What the effective configuration of a device follows from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The device.
    pub member: &'a Member,
    /// The fleet's sections about configuration.
    pub sections: &'a [Placed],
    /// Those that could not be read, with the reason.
    pub unreadable: &'a [DocumentError],
    /// The device's configuration as it is.
    pub current: &'a Config,
    /// What was there before dusk came.
    pub ground: &'a Ground,
    /// Opens what is sealed.
    pub opener: &'a dyn Opener,
}

/// The configuration that a device should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// Configuration by package and section.
    pub sections: BTreeMap<(PackageName, SectionName), EffectiveSection>,
    /// Which sections were found by what is in them.
    pub bindings: BTreeMap<Binding, Vec<SectionName>>,
    /// Files by path.
    pub files: BTreeMap<String, Sourced<WantedFile>>,
    /// SSH keys that may log in; nothing where no section speaks of any.
    pub keys: Option<Vec<Sourced<SshKey>>>,
    /// Password hashes by user.
    pub passwords: BTreeMap<String, Sourced<PasswordHash>>,
    /// Jobs at times; nothing where no section speaks of any.
    pub cron: Option<Vec<Sourced<CronJob>>>,
    /// Software by name.
    pub packages: BTreeMap<String, Sourced<WantedPackage>>,
    /// What is to be done once.
    pub actions: Vec<Sourced<Action>>,
    /// What all policies together say.
    pub policy: EffectivePolicy,
    /// The sections that cannot be taken, with the reason.
    pub rejected: Vec<DocumentError>,
    /// What stays as it is because a section about it cannot be taken.
    pub frozen: BTreeSet<Kind>,
    /// What was left out, and why that is as it should be.
    pub notes: Vec<Note>,
}

/// A selector of a package, as a section was once found by it.
pub type Binding = (PackageName, SectionType, String);

/// Something, and the section that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The thing.
    pub wanted: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// A UCI section as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveSection {
    /// Its type.
    pub kind: SectionType,
    /// The id that it has on the device, where it has no name there.
    pub found_as: Option<SectionName>,
    /// Whose word it is that it shall not be there.
    pub deleted_by: Option<Origin>,
    /// Whether there shall be no other options.
    pub is_whole: bool,
    /// What every layer said of its options, the last one counting.
    pub settings: BTreeMap<OptionName, Vec<Setting>>,
}

/// What a layer said of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value; nothing where the option shall not be there.
    pub value: Option<Value>,
    /// Whose word that is.
    pub origin: Origin,
    /// Whether it is shown masked.
    pub is_secret: bool,
}

/// Something that was left out as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The section that speaks of it.
    pub origin: Origin,
    /// What was left out, and why.
    pub text: String,
}

/// What all policies of a device together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectivePolicy {
    /// How long a change may take to be confirmed, in seconds.
    pub deadline: u32,
    /// Whose word it is that nothing is applied.
    pub frozen_by: Option<Origin>,
    /// What to do about drift.
    pub drift: DriftMode,
    /// What must work before a change is confirmed.
    pub probes: Vec<Sourced<Probe>>,
    /// What runs around a change.
    pub hooks: Vec<Sourced<Hook>>,
}

impl Default for EffectivePolicy {
    fn default() -> Self {
        Self { deadline: DEADLINE, frozen_by: None, drift: DriftMode::Report, probes: Vec::new(), hooks: Vec::new() }
    }
}

impl EffectiveSection {
    /// What counts for an option, if any layer speaks of it.
    #[must_use]
    pub fn setting(&self, option: &str) -> Option<&Setting> {
        self.settings.get(option)?.last()
    }

    fn new(kind: SectionType, found_as: Option<SectionName>) -> Self {
        Self { kind, found_as, deleted_by: None, is_whole: false, settings: BTreeMap::new() }
    }
}

impl Effective {
    /// The effective configuration of a device. It depends on nothing but the input.
    #[must_use]
    pub fn of(input: Input<'_>) -> Self {
        let layers = layer::of_device(input.sections, input.member);
        let variables = Variables::of(input.member, &layers, input.opener);
        let templates = Templates::of(&layers);
        let mut effective = Self::default();
        for error in input.unreadable.iter().filter(|error| layer::may_concern(&error.path, input.member)) {
            effective.reject(error.clone());
        }
        for placed in layers {
            effective.take(input, placed, &variables, &templates);
        }
        effective
    }

    /// Whether something stays as it is because a section about it cannot be taken. Without its variables nothing is what
    /// it should be, and without a policy nobody knows whom its sections concern.
    #[must_use]
    pub fn is_frozen(&self, kind: &Kind) -> bool {
        [kind, &Kind::Variables, &Kind::Policy].into_iter().any(|kind| self.frozen.contains(kind))
    }

    /// Leaves a section of the fleet out; what it is about stays as it is.
    fn reject(&mut self, error: DocumentError) {
        self.frozen.extend(match Kind::of(&error.path) {
            Ok(Some(Kind::Template(package))) => Some(Kind::Config(package)),
            Ok(kind) => kind,
            Err(_) => None,
        });
        self.rejected.push(error);
    }

    fn take(&mut self, input: Input<'_>, placed: &Placed, variables: &Variables, templates: &Templates<'_>) {
        let origin = &placed.origin;
        let sourced = |wanted| Sourced { wanted, origin: origin.clone() };
        match &placed.document {
            Document::Config(config) => {
                // A section of the fleet is taken whole or not at all.
                let mut taken = self.clone();
                let merge = Merge { input, origin, variables, templates };
                match config.sections.iter().try_for_each(|wanted| taken.merge(&merge, config, wanted)) {
                    Ok(()) => *self = taken,
                    Err(error) => self.reject(error),
                }
            }
            Document::Template(_) | Document::Variables(_) => {}
            Document::Files(files) => {
                let opened = files.iter().map(|file| sealed::open_file(file, input.opener));
                match opened.collect::<Result<Vec<_>, _>>() {
                    Ok(files) => self.files.extend(files.into_iter().map(|file| (file.path.clone(), sourced(file)))),
                    Err(problem) => self.reject(DocumentError::of(&origin.section, Place::default(), problem)),
                }
            }
            Document::Keys(keys) => {
                let known = self.keys.get_or_insert_default();
                let sourced = |wanted| Sourced { wanted, origin: origin.clone() };
                let is_new = |key: &&SshKey| known.iter().all(|other| other.wanted != **key);
                let new: Vec<_> = keys.iter().filter(is_new).cloned().map(sourced).collect();
                known.extend(new);
            }
            Document::Passwords(hashes) => {
                let opened = hashes.iter().map(|hash| sealed::open_hash(hash, input.opener));
                match opened.collect::<Result<Vec<_>, _>>() {
                    Ok(hashes) => {
                        let sourced = |wanted| Sourced { wanted, origin: origin.clone() };
                        self.passwords.extend(hashes.into_iter().map(|hash| (hash.user.clone(), sourced(hash))));
                    }
                    Err(problem) => self.reject(DocumentError::of(&origin.section, Place::default(), problem)),
                }
            }
            Document::Cron(jobs) => {
                let sourced = |wanted| Sourced { wanted, origin: origin.clone() };
                self.cron.get_or_insert_default().extend(jobs.iter().cloned().map(sourced));
            }
            Document::Packages(packages) => {
                let sourced = |wanted| Sourced { wanted, origin: origin.clone() };
                self.packages.extend(packages.iter().map(|package| (package.name.clone(), sourced(package.clone()))));
            }
            Document::Action(action) => {
                self.actions.push(Sourced { wanted: action.clone(), origin: origin.clone() });
            }
            Document::Policy(policy) => {
                let merged = &mut self.policy;
                merged.deadline = policy.apply.deadline.unwrap_or(merged.deadline);
                merged.drift = policy.drift.unwrap_or(merged.drift);
                if policy.apply.is_frozen {
                    merged.frozen_by = Some(origin.clone());
                }
                let probe = |wanted: &Probe| Sourced { wanted: wanted.clone(), origin: origin.clone() };
                merged.probes.extend(policy.probes.iter().map(probe));
                let hook = |wanted: &Hook| Sourced { wanted: wanted.clone(), origin: origin.clone() };
                merged.hooks.extend(policy.hooks.iter().map(hook));
            }
        }
    }

    /// Takes a wanted section into all sections of the device that it means.
    fn merge(
        &mut self,
        merge: &Merge<'_>,
        config: &ConfigDocument,
        wanted: &WantedSection,
    ) -> Result<(), DocumentError> {
        let error = |place, problem: String| DocumentError::of(&merge.origin.section, place, problem);
        let package = &config.package;
        let resolver = Resolver { input: merge.input, package, made: &self.sections };
        let resolved = match resolver.resolve(wanted).map_err(|problem| error(wanted.place.clone(), problem))? {
            Resolved::Sections(sections) => sections,
            Resolved::LeftOut(text) => {
                self.notes.push(Note { origin: merge.origin.clone(), text });
                return Ok(());
            }
        };
        let settings = match merge.settings(package, wanted)? {
            Ok(settings) => settings,
            Err(text) => {
                self.notes.push(Note { origin: merge.origin.clone(), text });
                return Ok(());
            }
        };
        let names = resolved.iter().map(|target| target.name.clone()).collect();
        if let Some(binding) = resolve::binding(package, wanted) {
            self.bindings.insert(binding, names);
        }
        for target in resolved {
            let key = (package.clone(), target.name);
            let section = self.sections.entry(key);
            let section = section.or_insert_with(|| EffectiveSection::new(wanted.kind.clone(), target.found_as));
            if section.kind != wanted.kind {
                let problem = format!("is a {} here, but another section has it as a {}", wanted.kind, section.kind);
                return Err(error(wanted.place.clone(), problem));
            }
            section.take(merge.origin, wanted.extent, &target.criteria, &settings);
        }
        Ok(())
    }
}

/// What a section is merged with.
struct Merge<'a> {
    input: Input<'a>,
    origin: &'a Origin,
    variables: &'a Variables,
    templates: &'a Templates<'a>,
}

impl Merge<'_> {
    /// What a wanted section says of its options, its template first; or why it is left out on this hardware.
    fn settings(
        &self,
        package: &PackageName,
        wanted: &WantedSection,
    ) -> Result<Result<Vec<(OptionName, Setting)>, String>, DocumentError> {
        let error = |place, problem| DocumentError::of(&self.origin.section, place, problem);
        let mut layers = Vec::new();
        if let Some(template) = &wanted.template {
            let found = self.templates.find(package, &wanted.kind, template);
            layers.extend(found.map_err(|problem| error(wanted.place.clone(), problem))?);
        }
        layers.extend(wanted.options.iter().map(|(name, option)| (name, option, self.origin)));
        let mut settings = Vec::with_capacity(layers.len());
        for (name, option, origin) in layers {
            let wrong = |problem| DocumentError::of(&origin.section, option.place.clone(), problem);
            let Some(value) = &option.value else {
                settings.push((name.clone(), Setting { value: None, origin: origin.clone(), is_secret: false }));
                continue;
            };
            if has_variables(value) && is_code(package, &wanted.kind, name) {
                // Else whoever sets the variable would say what runs.
                return Err(wrong("runs code: expected a value without variables".to_owned()));
            }
            let filled = self.variables.fill(value).map_err(wrong)?;
            let (filled, was_sealed) = opened(filled, self.input.opener).map_err(wrong)?;
            let value = match hardware::put_in(filled.value, self.input).map_err(wrong)? {
                Ok(value) => value,
                Err(missing) => {
                    return Ok(Err(format!("{package} {} is left out: {missing}", name_of(wanted))));
                }
            };
            value.check().map_err(|error| wrong(error.to_string()))?;
            let is_secret = was_sealed || filled.is_secret || crate::mask::is_secret(package, &wanted.kind, name);
            settings.push((name.clone(), Setting { value: Some(value), origin: origin.clone(), is_secret }));
        }
        Ok(Ok(settings))
    }
}

/// A value with what is sealed in it opened, and whether something was.
fn opened(filled: Filled, opener: &dyn Opener) -> Result<(Filled, bool), String> {
    match sealed::open_in(&filled.value, opener)? {
        Some(value) => Ok((Filled { value, ..filled }, true)),
        None => Ok((filled, false)),
    }
}

fn name_of(wanted: &WantedSection) -> String {
    match &wanted.selector {
        crate::document::Selector::Name(name) => format!("section {name}"),
        selector => format!("section @{}[{selector}]", wanted.kind),
    }
}

impl EffectiveSection {
    fn take(
        &mut self,
        origin: &Origin,
        extent: Extent,
        criteria: &BTreeMap<OptionName, String>,
        settings: &[(OptionName, Setting)],
    ) {
        let said = |value, origin: &Origin| Setting { value, origin: origin.clone(), is_secret: false };
        match extent {
            Extent::Deleted => {
                self.deleted_by = Some(origin.clone());
                self.is_whole = false;
                self.settings.clear();
                return;
            }
            Extent::Whole => {
                self.is_whole = true;
                self.settings.values_mut().for_each(|history| history.push(said(None, origin)));
            }
            Extent::Named => {}
        }
        self.deleted_by = None;
        for (name, value) in criteria {
            let value = Some(Value::from(value.as_str()));
            self.settings.entry(name.clone()).or_default().push(said(value, origin));
        }
        for (name, setting) in settings {
            self.settings.entry(name.clone()).or_default().push(setting.clone());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
