//! The methods of `uci` that stage changes in the caller's session.

use super::uci::{Draft, Filter};
use crate::json::Json;
use crate::rpcd::{Call, Rpcd};
use crate::status::{Answer, DONE, Status, data};
use crate::tree::{Change, Item, Missing};

impl From<Missing> for Status {
    fn from(_: Missing) -> Self {
        Status::NotFound
    }
}

/// The text that a value becomes: integers without a sign (32 bits where they fit), booleans as 1 and 0; none for what
/// UCI cannot hold.
pub(crate) fn format(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text.clone()),
        Json::Bool(on) => Some(if *on { "1" } else { "0" }.to_owned()),
        Json::Int(number) => match i32::try_from(*number) {
            Ok(number) => Some(number.cast_unsigned().to_string()),
            Err(_) => Some(number.cast_unsigned().to_string()),
        },
        Json::Null | Json::Float(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

fn is_name(name: &str) -> bool {
    ::uci::OptionName::new(name).is_ok()
}

pub(crate) fn add(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let (Some(_), Some(kind)) = (call.text("config"), call.text("type")) else {
        return Err(Status::InvalidArgument);
    };
    let mut draft = Draft::open(rpcd, call, "write")?;
    if ::uci::SectionType::new(kind).is_err() {
        return Err(Status::InvalidArgument);
    }
    let name = match call.text("name") {
        Some(name) if !is_name(name) => return Err(Status::InvalidArgument),
        Some(name) => {
            draft.step(Change::Type { section: name.to_owned(), kind: kind.to_owned() })?;
            name.to_owned()
        }
        None => {
            let id = draft.tree.next_id(kind);
            draft.step(Change::Add { section: id.clone(), kind: kind.to_owned() })?;
            id
        }
    };
    for (option, value) in call.members("values").into_iter().flatten() {
        if !is_name(option) {
            return Err(Status::InvalidArgument);
        }
        match value {
            Json::Array(items) => list_add(&mut draft, &name, option, items)?,
            value => {
                if let Some(text) = format(value) {
                    assign(&mut draft, &name, option, text)?;
                }
            }
        }
    }
    draft.save(rpcd, call);
    data("section", name)
}

pub(crate) fn set(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let filter = Filter::of(call);
    let (Some(_), Some(values)) = (call.text("config"), call.members("values")) else {
        return Err(Status::InvalidArgument);
    };
    if call.text("section").is_none() && filter.is_absent() {
        return Err(Status::InvalidArgument);
    }
    let mut draft = Draft::open(rpcd, call, "write")?;
    let sections = targets(&draft, call, &filter)?;
    if sections.is_empty() || values.is_empty() {
        return Err(Status::NotFound);
    }
    for section in &sections {
        for (option, value) in values {
            merge(&mut draft, section, option, value)?;
        }
    }
    draft.save(rpcd, call);
    DONE
}

/// The sections that a call means, by name or id: the one it names, or those that its filter accepts.
fn targets(draft: &Draft, call: &Call<'_>, filter: &Filter<'_>) -> Result<Vec<String>, Status> {
    match call.text("section") {
        Some(section) => Ok(vec![draft.tree.lookup(section).ok_or(Status::NotFound)?.name.clone()]),
        None => {
            let accepted = draft.tree.sections().iter().filter(|section| filter.accepts(section));
            Ok(accepted.map(|section| section.name.clone()).collect())
        }
    }
}

/// Sets one option to what the call asks for: a list takes the place of what was there, and so does a text of a list.
fn merge(draft: &mut Draft, section: &str, option: &str, value: &Json) -> Result<(), Status> {
    if !is_name(option) {
        return Err(Status::InvalidArgument);
    }
    let present = draft.tree.section(section).and_then(|section| section.get(option));
    let replaced = match value {
        Json::Array(_) => present.is_some(),
        _ => matches!(present, Some(Item::List(_))),
    };
    if replaced {
        draft.step(Change::Remove { section: section.to_owned(), option: Some(option.to_owned()) })?;
    }
    match value {
        Json::Array(items) if items.iter().any(|item| format(item).is_some()) => {
            list_add(draft, section, option, items)?;
        }
        value => assign(draft, section, option, format(value).ok_or(Status::InvalidArgument)?)?,
    }
    Ok(())
}

fn list_add(draft: &mut Draft, section: &str, option: &str, items: &[Json]) -> Result<(), Missing> {
    for value in items.iter().filter_map(format) {
        draft.step(Change::ListAdd { section: section.to_owned(), option: option.to_owned(), value })?;
    }
    Ok(())
}

/// Sets an option to a text; the empty text removes it.
fn assign(draft: &mut Draft, section: &str, option: &str, value: String) -> Result<(), Missing> {
    let (section, option) = (section.to_owned(), option.to_owned());
    if !value.is_empty() {
        return draft.step(Change::Set { section, option, value });
    }
    if draft.tree.section(&section).is_some_and(|section| section.get(&option).is_some()) {
        return draft.step(Change::Remove { section, option: Some(option) });
    }
    Ok(())
}

pub(crate) fn delete(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let filter = Filter::of(call);
    let section = call.text("section");
    if call.text("config").is_none() || (section.is_none() && filter.is_absent()) || section == Some("") {
        return Err(Status::InvalidArgument);
    }
    let mut draft = Draft::open(rpcd, call, "write")?;
    let options: Option<Vec<&str>> = match (call.array("options"), call.text("option")) {
        (Some(options), _) => Some(options.iter().filter_map(Json::as_text).collect()),
        (None, Some(option)) => Some(vec![option]),
        (None, None) => None,
    };
    let mut found = false;
    for section in targets(&draft, call, &filter)? {
        let removals: Vec<Change> = match &options {
            None => vec![Change::Remove { section, option: None }],
            Some(options) => {
                let removal =
                    |option: &&str| Change::Remove { section: section.clone(), option: Some((*option).to_owned()) };
                options.iter().map(removal).collect()
            }
        };
        for removal in removals {
            found |= draft.step(removal).is_ok();
        }
    }
    if !found {
        return Err(Status::NotFound);
    }
    draft.save(rpcd, call);
    DONE
}

pub(crate) fn rename(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let (Some(_), Some(section), Some(name)) = (call.text("config"), call.text("section"), call.text("name")) else {
        return Err(Status::InvalidArgument);
    };
    let mut draft = Draft::open(rpcd, call, "write")?;
    if !is_name(name) {
        return Err(Status::InvalidArgument);
    }
    let change = Change::Rename {
        section: section.to_owned(),
        option: call.text("option").map(str::to_owned),
        name: name.to_owned(),
    };
    // What is not there is not renamed, and rpcd does not say so.
    if draft.step(change).is_ok() {
        draft.save(rpcd, call);
    }
    DONE
}

pub(crate) fn order(rpcd: &mut Rpcd, call: &Call<'_>) -> Answer {
    let (Some(_), Some(sections)) = (call.text("config"), call.array("sections")) else {
        return Err(Status::InvalidArgument);
    };
    let mut draft = Draft::open(rpcd, call, "write")?;
    for (position, section) in sections.iter().filter_map(Json::as_text).enumerate() {
        let section = draft.tree.lookup(section).ok_or(Status::NotFound)?.name.clone();
        draft.step(Change::Order { section, position })?;
    }
    draft.save(rpcd, call);
    DONE
}
