//! Which resources of a list are wanted.

use types::{ResourceId, ResourceName, TagKey, TagValue, TargetId};

use crate::statement::{Statement, built};

/// What all resources of a list must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// These tags with these values.
    pub tags: Vec<(TagKey, TagValue)>,
    /// This name.
    pub name: Option<ResourceName>,
    /// This state.
    pub state: Option<String>,
    /// References to all of these.
    pub references: Vec<ResourceId>,
    /// This hypervisor to run on.
    pub hypervisor: Option<TargetId>,
}

/// A text with its values, put together piece by piece; every piece is a constant.
pub(crate) struct Condition {
    text: String,
    values: Vec<crate::statement::Value>,
}

impl Condition {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    /// Adds a piece in which each `?` stands for the next of the values.
    pub(crate) fn and(mut self, piece: &'static str, values: Vec<crate::statement::Value>) -> Self {
        let mut values = values.into_iter();
        for part in piece.split_inclusive('?') {
            match part.strip_suffix('?') {
                Some(before) => {
                    self.values.extend(values.next());
                    self.text.push_str(&format!("{before}${}", self.values.len()));
                }
                None => self.text.push_str(part),
            }
        }
        self
    }

    /// Adds what the filter asks of resources, of which `after` is the last that is known. Each list of candidates is
    /// read from an index, beginning after the last.
    pub(crate) fn and_filter(mut self, filter: &Filter, after: &str) -> Self {
        for (name, value) in &filter.tags {
            let values = vec![name.as_str().into(), value.as_str().into(), after.into()];
            self = self.and(
                " AND r.id IN (SELECT t.resource FROM tag t WHERE t.name = ? AND t.value = ? AND t.resource > ?)",
                values,
            );
        }
        for target in &filter.references {
            let values = vec![target.to_string().into(), after.into()];
            self =
                self.and(" AND r.id IN (SELECT f.source FROM reference f WHERE f.target = ? AND f.source > ?)", values);
        }
        if let Some(hypervisor) = filter.hypervisor {
            let values = vec![hypervisor.to_string().into(), after.into()];
            self = self.and(
                " AND r.id IN (SELECT p.instance FROM placement p WHERE p.hypervisor = ? AND p.instance > ?)",
                values,
            );
        }
        if let Some(name) = &filter.name {
            self = self.and(" AND r.name = ?", vec![name.as_str().into()]);
        }
        if let Some(state) = &filter.state {
            self = self.and(" AND r.state = ?", vec![state.into()]);
        }
        self
    }

    pub(crate) fn statement(self) -> Statement {
        built(self.text, self.values)
    }
}
