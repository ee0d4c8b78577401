//! Lists: how much of them, which of them, and where one page ends and the next begins.

use std::str::FromStr;

use api::{Image, Kind, Network, State};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use store::{Filter, Session};
use types::{ParseError, ResourceId, ResourceName, TagKey, TagValue, TargetId};

use super::access::SignedIn;
use super::resource::find;
use crate::kind::Managed;
use crate::refusal::Refusal;

/// Items of a page at most, and where nothing is said.
const LIMIT: u32 = 1000;
const USUAL: u32 = 100;
/// Tags that are asked for at once, at most.
const TAGS: usize = 16;

/// How much of a list is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub after: Option<String>,
}

impl PageQuery {
    /// How many items, within bounds.
    pub fn limit(&self) -> Result<u32, Refusal> {
        limit(self.limit)
    }
}

fn limit(asked: Option<u32>) -> Result<u32, Refusal> {
    match asked.unwrap_or(USUAL) {
        limit if (1..=LIMIT).contains(&limit) => Ok(limit),
        _ => Err(Refusal::fault("limit", format!("expected 1 to {LIMIT}"))),
    }
}

/// What any list of a kind may be asked for.
#[derive(Debug, Default)]
pub struct ListQuery {
    limit: Option<u32>,
    after: Option<String>,
    tag: Vec<String>,
    name: Option<String>,
    state: Option<String>,
    network: Option<String>,
    image: Option<String>,
    hypervisor: Option<String>,
}

/// The parameters of the lists of some kinds, those that all have among them.
macro_rules! list_query {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, utoipa::IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// How many items at most, 1 to 1000.
            #[param(minimum = 1, maximum = 1000)]
            limit: Option<u32>,
            /// The `next` of the page before; good for the same filter alone.
            after: Option<String>,
            /// A tag that all must have, as in `name:value`; may be given several times.
            #[serde(default)]
            #[param(max_items = 16)]
            tag: Vec<String>,
            /// The name.
            name: Option<String>,
            /// The state.
            #[param(value_type = Option<State>)]
            state: Option<String>,
            $($(#[$field_doc])* $field: Option<String>,)*
        }

        impl From<$name> for ListQuery {
            // The kind with most parameters has them all.
            #[allow(clippy::needless_update)]
            fn from(query: $name) -> Self {
                Self {
                    limit: query.limit,
                    after: query.after,
                    tag: query.tag,
                    name: query.name,
                    state: query.state,
                    $($field: query.$field,)*
                    ..Self::default()
                }
            }
        }
    };
}

list_query! {
    /// Which networks or images are wanted.
    PlainQuery {}
}

list_query! {
    /// Which instances are wanted.
    InstanceQuery {
        /// The network that they are on, by id or name.
        network,
        /// The image that they were made of, by id or name.
        image,
        /// The hypervisor that they run on, by id or name.
        hypervisor,
    }
}

list_query! {
    /// Which peers are wanted.
    PeerQuery {
        /// A network that they may enter, by id or name.
        network,
    }
}

/// A page that is asked for.
pub struct Wanted {
    /// What all its items have.
    pub filter: Filter,
    /// The last item that is known.
    pub after: Option<ResourceId>,
    /// How many items at most.
    pub limit: u32,
}

impl ListQuery {
    /// Reads the parameters and finds what they name.
    pub async fn resolve<K: Managed, Mode>(
        &self,
        session: &mut Session<'_, Mode>,
        who: &SignedIn,
    ) -> Result<Wanted, Refusal> {
        let mut filter = Filter {
            tags: self.tags()?,
            name: parsed::<ResourceName>("name", self.name.as_deref())?,
            state: self.state()?,
            ..Filter::default()
        };
        if let Some(network) = &self.network {
            filter.references.push(resource::<Network, _>(session, who, "network", network).await?);
        }
        if let Some(image) = &self.image {
            filter.references.push(resource::<Image, _>(session, who, "image", image).await?);
        }
        if let Some(which) = &self.hypervisor {
            filter.hypervisor = Some(hypervisor(session, who, which).await?);
        }
        let after = match &self.after {
            Some(cursor) => Some(read_cursor::<K>(&filter, cursor)?),
            None => None,
        };
        Ok(Wanted { filter, after, limit: limit(self.limit)? })
    }

    fn tags(&self) -> Result<Vec<(TagKey, TagValue)>, Refusal> {
        if self.tag.len() > TAGS {
            return Err(Refusal::fault("tag", format!("expected {TAGS} tags at most")));
        }
        let mut tags = Vec::new();
        for tag in &self.tag {
            let (key, value) = tag
                .split_once(':')
                .ok_or_else(|| Refusal::fault("tag", format!("{tag:?} is no tag, expected name:value")))?;
            let refuse = |error: ParseError| Refusal::fault("tag", error.to_string());
            tags.push((key.parse().map_err(refuse)?, value.parse().map_err(refuse)?));
        }
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    fn state(&self) -> Result<Option<String>, Refusal> {
        let Some(state) = &self.state else { return Ok(None) };
        let known: Result<State, _> = serde_json::from_value(serde_json::Value::String(state.clone()));
        let known = known.map_err(|error| Refusal::fault("state", error.to_string()))?;
        Ok(Some(known.as_str().to_owned()))
    }
}

fn parsed<T: FromStr<Err = ParseError>>(field: &str, text: Option<&str>) -> Result<Option<T>, Refusal> {
    text.map(str::parse).transpose().map_err(|error: ParseError| Refusal::fault(field, error.to_string()))
}

/// The resource that a parameter names.
async fn resource<K: Managed, Mode>(
    session: &mut Session<'_, Mode>,
    who: &SignedIn,
    field: &str,
    which: &str,
) -> Result<ResourceId, Refusal> {
    match find::<K, _>(session, who, which).await {
        Err(Refusal::NotFound(what)) => Err(Refusal::fault(field, format!("there is no {what}"))),
        found => found,
    }
}

/// The hypervisor that a parameter names.
async fn hypervisor<Mode>(session: &mut Session<'_, Mode>, who: &SignedIn, which: &str) -> Result<TargetId, Refusal> {
    if let Ok(id) = which.parse() {
        return Ok(id);
    }
    let rows = session.targets(&who.caller, Some("hypervisor")).await?;
    let found = rows.iter().find(|row| row.target.name == which);
    let found = found.ok_or_else(|| Refusal::fault("hypervisor", format!("there is no hypervisor {which}")))?;
    Ok(found.target.id)
}

/// Where a list goes on after `last`: its id, and a mark of the filter if there is one.
pub fn cursor(filter: &Filter, last: ResourceId) -> String {
    match mark(filter) {
        Some(mark) => format!("{last}.{mark}"),
        None => last.to_string(),
    }
}

fn read_cursor<K: Kind>(filter: &Filter, cursor: &str) -> Result<ResourceId, Refusal> {
    let (id, found) = match cursor.split_once('.') {
        Some((id, mark)) => (id, Some(mark)),
        None => (cursor, None),
    };
    let id: K::Id = id.parse().map_err(|error: ParseError| Refusal::fault("after", error.to_string()))?;
    match found == mark(filter).as_deref() {
        true => Ok(id.into()),
        false => Err(Refusal::fault("after", "the cursor belongs to a list with another filter: begin anew")),
    }
}

/// A few characters that tell filters apart; nothing for the filter that lets everything through.
fn mark(filter: &Filter) -> Option<String> {
    if *filter == Filter::default() {
        return None;
    }
    let digest = Sha256::digest(format!("{filter:?}"));
    Some(data_encoding::HEXLOWER.encode(&digest[..6]))
}

#[cfg(test)]
mod tests {
    use api::Instance;
    use types::InstanceId;

    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_filter_alone() {
        let id = InstanceId::make(1_795_000_000_123).unwrap();
        let (everything, named) = (Filter::default(), Filter { name: "web".parse().ok(), ..Filter::default() });
        for (made, read, good) in [
            (&everything, &everything, true),
            (&named, &named, true),
            (&everything, &named, false),
            (&named, &everything, false),
        ] {
            let found = read_cursor::<Instance>(read, &cursor(made, id.into()));
            assert_eq!(found.is_ok_and(|found| found == ResourceId::from(id)), good);
        }
        assert!(read_cursor::<Network>(&everything, &cursor(&everything, id.into())).is_err());
    }

    #[test]
    fn tags_are_read_in_any_order() {
        let asked = |tags: &[&str]| {
            let tag = tags.iter().map(ToString::to_string).collect();
            ListQuery { tag, ..ListQuery::default() }.tags().map_err(|refusal| refusal.into_problem().to_string())
        };
        assert_eq!(asked(&["b:2", "a:1"]).unwrap(), asked(&["a:1", "b:2", "a:1"]).unwrap());
        assert!(asked(&["a"]).unwrap_err().contains("name:value"));
    }
}
