//! What of a fleet's sections concerns a device, in the order in which it counts: policies, then groups in their order,
//! then the device's own. The later wins.

use std::fmt;

use crate::document::{Document, DocumentError, Policy, RunsCode};
use crate::facts::Facts;
use crate::{DeviceId, DeviceName, GroupName, Scope, SectionPath};

/// Which section set something, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The section.
    pub section: SectionPath,
    /// Who signed it, in whatever words the caller has for that.
    pub signer: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, signed by {}", self.section, self.signer)
    }
}

/// A section of the fleet that is about configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where it stands, and who signed it.
    pub origin: Origin,
    /// What it says.
    pub document: Document,
}

/// A device as configuration sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its record.
    pub id: DeviceId,
    /// What people call it.
    pub name: DeviceName,
    /// Its groups, the last one counting most.
    pub groups: Vec<GroupName>,
    /// Its hardware.
    pub facts: Facts,
}

/// Whether the change of a section said that its content runs code: only then its author's right to that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execute {
    /// It said so.
    Signed,
    /// It did not.
    NotSigned,
}

impl Placed {
    /// Reads a section of the fleet; nothing where it is not about configuration.
    ///
    /// # Errors
    /// Names section, line, option and what was expected. What runs code without having said so is refused.
    pub fn read(origin: Origin, content: &[u8], execute: Execute) -> Result<Option<Self>, DocumentError> {
        let Some(document) = Document::parse(&origin.section, content)? else { return Ok(None) };
        match (execute, document.runs_code().into_iter().next()) {
            (Execute::NotSigned, Some(RunsCode { place, what })) => {
                let problem = format!("{what} runs code, and its change does not say so: expected one that does");
                Err(DocumentError::of(&origin.section, place, problem))
            }
            _ => Ok(Some(Self { origin, document })),
        }
    }
}

/// Those sections that concern a device, in the order in which they count.
#[must_use]
pub fn of_device<'a>(sections: &'a [Placed], member: &Member) -> Vec<&'a Placed> {
    let policies: Vec<(&str, Option<&Policy>)> = sections
        .iter()
        .filter_map(|placed| match &placed.document {
            Document::Policy(policy) => Some((scope_name(&placed.origin.section)?, Some(policy.as_ref()))),
            _ => None,
        })
        .collect();
    let policy = |name: &str| policies.iter().find(|(other, _)| *other == name).and_then(|(_, policy)| *policy);
    let rank = |placed: &Placed| -> Option<(u8, i64, String)> {
        match placed.origin.section.scope() {
            Scope::User(_) => None,
            Scope::Policy(name) => {
                let (priority, is_meant) =
                    policy(&name).map_or((0, true), |policy| (policy.priority, policy.concerns(member)));
                is_meant.then_some((0, priority.into(), name))
            }
            Scope::Group(group) => {
                let place = member.groups.iter().position(|other| *other == group)?;
                Some((1, i64::try_from(place).unwrap_or(i64::MAX), String::new()))
            }
            Scope::Device(id) => (id == member.id).then_some((2, 0, String::new())),
        }
    };
    let mut ranked: Vec<_> = sections.iter().filter_map(|placed| Some((rank(placed)?, placed))).collect();
    ranked.sort_by(|(rank, placed), (other_rank, other)| {
        (rank, &placed.origin.section).cmp(&(other_rank, &other.origin.section))
    });
    ranked.into_iter().map(|(_, placed)| placed).collect()
}

/// Whether a section may concern a device, for all that its path tells.
pub(crate) fn may_concern(path: &SectionPath, member: &Member) -> bool {
    match path.scope() {
        Scope::User(_) => false,
        Scope::Policy(_) => true,
        Scope::Group(group) => member.groups.contains(&group),
        Scope::Device(id) => id == member.id,
    }
}

/// The name of a policy, of a section that belongs to one.
fn scope_name(path: &SectionPath) -> Option<&str> {
    let mut segments = path.segments();
    (segments.next() == Some("policies")).then(|| segments.next())?
}

impl Policy {
    /// Whether it concerns a device.
    #[must_use]
    pub fn concerns(&self, member: &Member) -> bool {
        let (groups, boards) = (&self.concerns.groups, &self.concerns.boards);
        (groups.is_empty() || member.groups.iter().any(|group| groups.contains(group)))
            && (boards.is_empty() || boards.contains(&member.facts.board))
    }
}
