//! UCI in the JSON of rpcd's `uci` object: packages as `get` tells them, changes as its methods take them, records as
//! `changes` tells them.

use serde_json::{Map, Value, json};
use uci::{
    Change, Edit, Identity, OptionName, Package, PackageName, Record, Section, SectionName, SectionType, Values,
};

use crate::{MAX_REQUEST, UbusError, wire};

/// The package that `uci get {config}` tells.
pub(crate) fn package(name: &PackageName, answer: Option<Value>) -> Result<Package, UbusError> {
    let malformed = |expected: String| UbusError::malformed("uci", "get", expected);
    let Some(Value::Object(sections)) = answer.and_then(|mut answer| answer.get_mut("values").map(Value::take)) else {
        return Err(malformed(format!("the sections of package {name} under \"values\"")));
    };
    let mut placed = Vec::with_capacity(sections.len());
    for (key, told) in sections {
        let index = told.get(".index").and_then(Value::as_u64);
        let index = index.ok_or_else(|| malformed(format!("a number as .index of section {key:?}")))?;
        placed.push((index, section(&key, told).map_err(malformed)?));
    }
    placed.sort_by_key(|(index, _)| *index);
    let sections = placed.into_iter().map(|(_, section)| section);
    Package::from_sections(name.clone(), sections)
        .map_err(|error| malformed(format!("sections once each, but {error}")))
}

/// A section, or what was expected where it is none.
fn section(key: &str, told: Value) -> Result<Section, String> {
    let Value::Object(told) = told else {
        return Err(format!("an object as section {key:?}"));
    };
    let name = SectionName::new(key).map_err(|error| format!("names of sections, but {error}"))?;
    let kind = told.get(".type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| format!("a text as .type of section {key}"))?;
    let kind = SectionType::as_read(kind).map_err(|error| format!("types of sections, but {error}"))?;
    let identity = match told.get(".anonymous") {
        Some(Value::Bool(true)) => Identity::Anonymous(name),
        Some(Value::Bool(false)) => Identity::Named(name),
        _ => return Err(format!("true or false as .anonymous of section {key}")),
    };
    let mut options = Vec::with_capacity(told.len());
    for (option, value) in told.into_iter().filter(|(option, _)| !option.starts_with('.')) {
        let value = option_value(value).ok_or_else(|| format!("texts or lists of texts in section {key}"))?;
        let option =
            OptionName::new(option).map_err(|error| format!("names of options in section {key}, but {error}"))?;
        options.push((option, value));
    }
    Ok(Section::from_parts(kind, identity, options))
}

fn option_value(value: Value) -> Option<uci::Value> {
    match value {
        Value::String(text) => Some(uci::Value::Scalar(text)),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| match item {
                Value::String(text) => Some(text),
                _ => None,
            });
            items.collect::<Option<Vec<String>>>().map(uci::Value::List)
        }
        _ => None,
    }
}

/// The arguments of the call that makes a change.
pub(crate) fn args(change: &Change) -> Value {
    let mut args = match &change.edit {
        Edit::Add { kind, name, values } => {
            json!({"type": kind.as_str(), "name": name.as_str(), "values": told(values)})
        }
        Edit::Set { section, values } => json!({"section": section.as_str(), "values": told(values)}),
        Edit::DeleteSection { section } => json!({"section": section.as_str()}),
        Edit::DeleteOptions { section, options } => {
            let options: Vec<_> = options.iter().map(OptionName::as_str).collect();
            json!({"section": section.as_str(), "options": options})
        }
        Edit::RenameSection { section, name } => json!({"section": section.as_str(), "name": name.as_str()}),
        Edit::RenameOption { section, option, name } => {
            json!({"section": section.as_str(), "option": option.as_str(), "name": name.as_str()})
        }
        Edit::Order { sections } => {
            let sections: Vec<_> = sections.iter().map(SectionName::as_str).collect();
            json!({"sections": sections})
        }
    };
    args["config"] = json!(change.config.as_str());
    args
}

fn told(values: &Values) -> Value {
    let value = |value: &uci::Value| match value {
        uci::Value::Scalar(text) => json!(text),
        uci::Value::List(items) => json!(items),
    };
    Value::Object(values.iter().map(|(option, told)| (option.to_string(), value(told))).collect::<Map<_, _>>())
}

/// The same change in as many calls as it takes to keep each within what uhttpd reads.
pub(crate) fn split(change: Change) -> Result<Vec<Change>, UbusError> {
    let size = wire::size("uci", change.edit.method(), &args(&change));
    if size <= MAX_REQUEST {
        return Ok(vec![change]);
    }
    let config = change.config;
    let halves = match change.edit {
        Edit::Add { kind, name, values } if values.len() > 1 => {
            let (first, rest) = halve(values);
            [Edit::Add { kind, name: name.clone(), values: first }, Edit::Set { section: name, values: rest }]
        }
        Edit::Set { section, values } if values.len() > 1 => {
            let (first, rest) = halve(values);
            [Edit::Set { section: section.clone(), values: first }, Edit::Set { section, values: rest }]
        }
        Edit::DeleteOptions { section, mut options } if options.len() > 1 => {
            let rest = options.split_off(options.len() / 2);
            let first = Edit::DeleteOptions { section: section.clone(), options };
            [first, Edit::DeleteOptions { section, options: rest }]
        }
        edit => {
            let (object, method) = ("uci".to_owned(), edit.method().to_owned());
            return Err(UbusError::RequestTooLarge { object, method, size, limit: MAX_REQUEST });
        }
    };
    let mut calls = Vec::new();
    for edit in halves {
        calls.extend(split(Change { config: config.clone(), edit })?);
    }
    Ok(calls)
}

fn halve(mut values: Values) -> (Values, Values) {
    let middle = values.keys().nth(values.len() / 2).cloned();
    let rest = middle.map(|middle| values.split_off(&middle)).unwrap_or_default();
    (values, rest)
}

/// A record as `uci changes` tells it.
pub(crate) fn record(record: &Record) -> Value {
    match record {
        Record::Section { section, kind } => json!(["set", section.as_str(), kind.as_str()]),
        Record::Option { section, option, text } => json!(["set", section.as_str(), option.as_str(), text]),
        Record::Item { section, option, item } => json!(["list-add", section.as_str(), option.as_str(), item]),
        Record::RemovedSection { section } => json!(["remove", section.as_str()]),
        Record::RemovedOption { section, option } => json!(["remove", section.as_str(), option.as_str()]),
        Record::RenamedSection { section, name } => json!(["rename", section.as_str(), name.as_str()]),
        Record::RenamedOption { section, option, name } => {
            json!(["rename", section.as_str(), option.as_str(), name.as_str()])
        }
        Record::Order { section, place } => json!(["order", section.as_str(), place]),
    }
}

#[cfg(test)]
mod tests;
