//! What rpcd answered on OpenWrt 24.10, against what this crate makes of it. The transcripts lie in `tests/transcripts`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uci::{
    ApplyError, Change, Edit, OptionName, Package, PackageName, Record, SectionName, SectionType, Values, apply,
};

use super::{args, package, record, split};
use crate::{MAX_REQUEST, wire};

fn toys() -> PackageName {
    PackageName::new("toys").unwrap()
}

#[test]
fn a_whole_package_is_read() {
    let text = include_str!("../../tests/transcripts/toys");
    let transcript = include_str!("../../tests/transcripts/12-uci-get.jsonl");
    let steps = transcript.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let whole = |step: &Value| step["request"]["params"][3] == json!({"config": "toys"});
    let step = steps.into_iter().find(whole).unwrap();
    let answer = step["reply"]["result"][1].clone();
    let read = package(&toys(), Some(answer)).unwrap();
    assert_eq!(read, Package::parse(toys(), text).unwrap());
}

#[test]
fn what_is_no_package_is_refused_with_what_was_expected() {
    let section = |told: Value| Some(json!({"values": {"a": told}}));
    for (answer, expected) in [
        (None, "the sections of package toys"),
        (Some(json!({"value": "red"})), "the sections of package toys"),
        (Some(json!({"values": []})), "the sections of package toys"),
        (section(json!("x")), "a number as .index"),
        (section(json!({".index": 0, ".anonymous": false})), "a text as .type of section a"),
        (section(json!({".index": 0, ".type": "t", ".anonymous": "no"})), "true or false as .anonymous"),
        (section(json!({".index": 0, ".type": "a b", ".anonymous": false})), "types of sections"),
        (section(json!({".index": 0, ".type": "t", ".anonymous": false, "o": 1})), "texts or lists of texts"),
        (section(json!({".index": 0, ".type": "t", ".anonymous": false, "o": [1]})), "texts or lists of texts"),
        (section(json!({".index": 0, ".type": "t", ".anonymous": false, "a-b": "1"})), "names of options"),
        (Some(json!({"values": {"a b": {".index": 0, ".type": "t", ".anonymous": false}}})), "names of sections"),
    ] {
        let error = package(&toys(), answer).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// A router that answers as recorded, and our idea of it.
struct Replay {
    committed: Package,
    staged: Package,
    records: Vec<Record>,
    /// Sections of which we have no idea, as a request changed them that we never make.
    unknown: BTreeSet<String>,
    compared: usize,
}

impl Replay {
    fn run(transcript: &str) -> usize {
        let toys = Package::parse(toys(), include_str!("../../tests/transcripts/toys")).unwrap();
        let (staged, records, unknown) = (toys.clone(), Vec::new(), BTreeSet::new());
        let mut replay = Self { committed: toys, staged, records, unknown, compared: 0 };
        for line in transcript.lines() {
            let step: Value = serde_json::from_str(line).unwrap();
            let params = &step["request"]["params"];
            if params[1] == "uci" && params[3]["config"] == "toys" {
                replay.step(params[2].as_str().unwrap(), &params[3], &step["reply"]["result"], &step["note"]);
            }
        }
        replay.compared
    }

    fn step(&mut self, method: &str, args: &Value, result: &Value, note: &Value) {
        let status = result[0].as_i64().unwrap();
        match method {
            "get" if status == 0 => self.compare_values(args, &result[1], note),
            "changes" if status == 0 => self.compare_records(&result[1]["changes"], note),
            "commit" => {
                self.staged.renumber();
                self.committed = self.staged.clone();
                self.records.clear();
            }
            "revert" => {
                self.staged = self.committed.clone();
                self.records.clear();
                self.unknown.clear();
            }
            "add" | "set" | "delete" | "rename" | "order" => self.change(method, args, status, note),
            _ => {}
        }
    }

    fn change(&mut self, method: &str, given: &Value, status: i64, note: &Value) {
        let Some(edit) = edit(method, given) else {
            if status == 0 {
                self.forget(given);
            }
            return;
        };
        let change = Change { config: toys(), edit };
        assert_eq!(args(&change), *given, "{note}");
        match apply(&mut self.staged, &[change]) {
            Ok(records) => {
                assert_eq!(status, 0, "{note}");
                self.records.extend(records);
            }
            Err(ApplyError::NotFound { .. }) => assert_eq!(status, 4, "{note}"),
            Err(ApplyError::Value { .. }) => assert_eq!(status, 2, "{note}"),
            Err(error) => panic!("{note}: {error}"),
        }
        self.compared += 1;
    }

    fn forget(&mut self, given: &Value) {
        match given["section"].as_str().or(given["name"].as_str()) {
            Some(section) if !section.starts_with('@') => {
                self.unknown.insert(section.to_owned());
            }
            _ => self.unknown.extend(self.staged.sections().map(|section| section.name().to_string())),
        }
    }

    fn compare_values(&mut self, given: &Value, answer: &Value, note: &Value) {
        if given.as_object().unwrap().len() > 1 {
            return;
        }
        let told = package(&toys(), Some(answer.clone())).unwrap();
        let known = |package: &Package| {
            let sections = package.sections().filter(|section| !section.is_anonymous());
            sections.filter(|section| !self.unknown.contains(section.name().as_str())).cloned().collect::<Vec<_>>()
        };
        assert_eq!(known(&told), known(&self.staged), "{note}");
        self.compared += 1;
    }

    fn compare_records(&mut self, told: &Value, note: &Value) {
        let is_known = |record: &Value| {
            let section = record[1].as_str().unwrap();
            !self.unknown.contains(section) && !section.starts_with("cfg")
        };
        let told: Vec<_> = told.as_array().unwrap().iter().filter(|record| is_known(record)).cloned().collect();
        let ours: Vec<_> = self.records.iter().map(record).filter(is_known).collect();
        assert_eq!(told, ours, "{note}");
        self.compared += 1;
    }
}

/// The edit behind a recorded request, if it is one that we make.
fn edit(method: &str, given: &Value) -> Option<Edit> {
    let keys: Vec<_> = given.as_object()?.keys().map(String::as_str).collect();
    let name = |key: &str| given[key].as_str().and_then(|name| SectionName::new(name).ok());
    let option = |value: &Value| value.as_str().and_then(|name| OptionName::new(name).ok());
    match (method, &keys[..]) {
        ("add", ["config", "name", "type", "values"]) => {
            let kind = SectionType::new(given["type"].as_str()?).ok()?;
            Some(Edit::Add { kind, name: name("name")?, values: values(&given["values"])? })
        }
        ("set", ["config", "section", "values"]) => {
            Some(Edit::Set { section: name("section")?, values: values(&given["values"])? })
        }
        ("delete", ["config", "section"]) => Some(Edit::DeleteSection { section: name("section")? }),
        ("delete", ["config", "options", "section"]) => {
            let options = given["options"].as_array()?.iter().map(option).collect::<Option<Vec<_>>>()?;
            Some(Edit::DeleteOptions { section: name("section")?, options })
        }
        ("rename", ["config", "name", "section"]) => {
            Some(Edit::RenameSection { section: name("section")?, name: name("name")? })
        }
        ("rename", ["config", "name", "option", "section"]) => {
            let (section, option, name) = (name("section")?, option(&given["option"])?, option(&given["name"])?);
            Some(Edit::RenameOption { section, option, name })
        }
        ("order", ["config", "sections"]) => {
            let section = |name: &Value| SectionName::new(name.as_str()?).ok();
            Some(Edit::Order { sections: given["sections"].as_array()?.iter().map(section).collect::<Option<_>>()? })
        }
        _ => None,
    }
}

fn values(given: &Value) -> Option<Values> {
    let value = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => uci::Value::from(text.as_str()),
            Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.into_iter().collect(),
            _ => return None,
        };
        Some((OptionName::new(name.as_str()).ok()?, value))
    };
    given.as_object()?.iter().map(value).collect()
}

#[test]
fn rpcd_does_and_records_what_we_expect() {
    let compared = [
        Replay::run(include_str!("../../tests/transcripts/13-uci-add.jsonl")),
        Replay::run(include_str!("../../tests/transcripts/14-uci-values.jsonl")),
        Replay::run(include_str!("../../tests/transcripts/15-uci-set.jsonl")),
        Replay::run(include_str!("../../tests/transcripts/16-uci-delete.jsonl")),
        Replay::run(include_str!("../../tests/transcripts/17-uci-rename-order.jsonl")),
        Replay::run(include_str!("../../tests/transcripts/18-uci-changes-commit-revert.jsonl")),
    ];
    assert!(compared.iter().all(|compared| *compared >= 3), "{compared:?}");
    assert!(compared.iter().sum::<usize>() >= 90, "{compared:?}");
}

#[test]
fn a_big_change_goes_in_several_calls() {
    let kind = SectionType::new("toy").unwrap();
    let name = SectionName::new("big").unwrap();
    let option = |number: usize| OptionName::new(format!("o{number:04}")).unwrap();
    let values: Values = (0..2_000).map(|number| (option(number), uci::Value::from("x".repeat(100)))).collect();
    let add =
        Change { config: toys(), edit: Edit::Add { kind: kind.clone(), name: name.clone(), values: values.clone() } };
    let calls = split(add.clone()).unwrap();
    assert!(calls.len() > 3, "{}", calls.len());
    for call in &calls {
        assert!(wire::size("uci", call.edit.method(), &args(call)) <= MAX_REQUEST);
    }
    let mut whole = Package::new(toys());
    let mut parts = Package::new(toys());
    assert_eq!(apply(&mut whole, &[add]).unwrap(), apply(&mut parts, &calls).unwrap());
    assert_eq!(whole, parts);
    let delete =
        Edit::DeleteOptions { section: name.clone(), options: values.keys().cycle().take(20_000).cloned().collect() };
    assert!(split(Change { config: toys(), edit: delete }).unwrap().len() > 1);
    let one = [(option(1), uci::Value::from("x".repeat(MAX_REQUEST)))].into_iter().collect();
    let error = split(Change { config: toys(), edit: Edit::Set { section: name, values: one } }).unwrap_err();
    assert!(error.to_string().starts_with("uci set: the request has "), "{error}");
}
