//! The difference of packages, and what rpcd makes of its calls.

use uci::{ApplyError, Change, DiffError, Edit, Package, Record, Value, apply, diff, diff_owned};

use crate::{TOYS, read};

fn difference(edit: impl FnOnce(&mut Package)) -> Vec<Edit> {
    let from = read(TOYS);
    let mut to = from.clone();
    edit(&mut to);
    let changes = diff(&from, &to).unwrap();
    let mut applied = from.clone();
    apply(&mut applied, &changes).unwrap();
    assert_eq!(applied, to);
    changes.into_iter().map(|change| change.edit).collect()
}

fn change(edit: Edit) -> [Change; 1] {
    [Change { config: "toys".parse().unwrap(), edit }]
}

fn set(section: &str, values: &[(&str, Value)]) -> Edit {
    Edit::Set { section: section.parse().unwrap(), values: pairs(values) }
}

fn pairs(values: &[(&str, Value)]) -> uci::Values {
    values.iter().map(|(name, value)| (name.parse().unwrap(), value.clone())).collect()
}

#[test]
fn equal_packages_differ_by_nothing() {
    assert_eq!(difference(|_| {}), []);
    assert_eq!(difference(|to| to.section_mut("first").unwrap().set("tag", ["a", "b"]).unwrap()), []);
}

#[test]
fn only_what_changed_is_set() {
    let edits = difference(|to| {
        let first = to.section_mut("first").unwrap();
        first.set("color", "green").unwrap();
        first.set("tag", ["a", "c"]).unwrap();
        first.set("shape", "round").unwrap();
    });
    let values = [("color", "green".into()), ("shape", "round".into()), ("tag", ["a", "c"].into())];
    assert_eq!(edits, [set("first", &values)]);
}

#[test]
fn a_scalar_becomes_a_list_and_back() {
    let edits = difference(|to| {
        let first = to.section_mut("first").unwrap();
        first.set("color", ["red"]).unwrap();
        first.set("tag", "a").unwrap();
    });
    assert_eq!(edits, [set("first", &[("color", ["red"].into()), ("tag", "a".into())])]);
}

#[test]
fn what_is_gone_is_deleted() {
    let edits = difference(|to| {
        to.delete("big").unwrap();
        let first = to.section_mut("first").unwrap();
        first.delete("color").unwrap();
        first.delete("tag").unwrap();
    });
    let options = vec!["color".parse().unwrap(), "tag".parse().unwrap()];
    let first = "first".parse().unwrap();
    let big = "big".parse().unwrap();
    assert_eq!(edits, [Edit::DeleteSection { section: big }, Edit::DeleteOptions { section: first, options }]);
}

#[test]
fn another_type_is_added_onto_the_section() {
    let edits = difference(|to| {
        let big = to.section_mut("big").unwrap();
        big.set_kind("crate".parse().unwrap());
        big.set("size", "9").unwrap();
    });
    let (kind, name) = ("crate".parse().unwrap(), "big".parse().unwrap());
    let added = Edit::Add { kind, name, values: pairs(&[]) };
    assert_eq!(edits, [added, set("big", &[("size", "9".into())])]);
}

#[test]
fn order_names_no_more_than_it_must() {
    let edits = difference(|to| {
        to.add("toy", "new").unwrap();
        to.order(&["new"]).unwrap();
    });
    let added = Edit::Add { kind: "toy".parse().unwrap(), name: "new".parse().unwrap(), values: pairs(&[]) };
    assert_eq!(edits, [added, Edit::Order { sections: vec!["new".parse().unwrap()] }]);
}

#[test]
fn anonymous_sections_are_never_changed() {
    let from = read(TOYS);
    let mut to = from.clone();
    to.section_mut("@toy[1]").unwrap().set("color", "teal").unwrap();
    let error = diff(&from, &to).unwrap_err();
    assert!(matches!(&error, DiffError::Anonymous { section, .. } if section.as_str() == "cfg02af21"), "{error}");
    let mut to = from.clone();
    to.add_anonymous("toy").unwrap();
    assert!(matches!(diff(&from, &to), Err(DiffError::Anonymous { .. })));
    let mut to = from.clone();
    to.order(&["cfg03af21", "first"]).unwrap();
    assert!(matches!(diff(&from, &to), Err(DiffError::Anonymous { .. })));
    let mut to = from.clone();
    to.order(&["cfg02af21"]).unwrap();
    assert!(matches!(diff(&from, &to), Err(DiffError::AnonymousOrder { .. })));
}

#[test]
fn sections_of_others_are_left_alone() {
    let mut from = read(TOYS);
    from.add("zone", "rz1").unwrap().set("name", "rz1").unwrap();
    from.add("zone", "rz2").unwrap().set("name", "rz2").unwrap();
    let mut to = Package::new(from.name().clone());
    to.add("zone", "rz3").unwrap().set("name", "rz3").unwrap();
    to.add("zone", "rz2").unwrap().set("name", "rz2").unwrap();
    to.add("zone", "stray").unwrap();
    let changes = diff_owned(&from, &to, |section| section.name().as_str().starts_with("rz")).unwrap();
    let edits: Vec<_> = changes.iter().map(|change| change.edit.clone()).collect();
    let (zone, rz3) = ("zone".parse().unwrap(), "rz3".parse().unwrap());
    let added = Edit::Add { kind: zone, name: rz3, values: pairs(&[("name", "rz3".into())]) };
    assert_eq!(edits, [Edit::DeleteSection { section: "rz1".parse().unwrap() }, added]);
    apply(&mut from, &changes).unwrap();
    assert!(from.print().starts_with(TOYS.trim_end()), "{from}");
}

#[test]
fn what_rpcd_cannot_take_is_an_error() {
    let from = read("config my.type 'a'\nconfig t 'b'\n");
    let mut to = read("config t 'b'\nconfig my.type 'c'\n");
    assert!(matches!(diff(&from, &to), Err(DiffError::Type { .. })));
    to = read("config t 'b'\n\toption o 'a\u{1}b'\n");
    assert!(matches!(diff(&from, &to), Err(DiffError::Value { .. })));
    to = Package::new("other".parse().unwrap());
    assert!(matches!(diff(&from, &to), Err(DiffError::OtherPackage { .. })));
}

#[test]
fn calls_do_what_rpcd_does() {
    let mut toys = read(TOYS);
    let mut call = |edit: Edit| apply(&mut toys, &change(edit)).map(|_| toys.clone());
    let add = |kind: &str, name: &str, values: &[(&str, Value)]| Edit::Add {
        kind: kind.parse().unwrap(),
        name: name.parse().unwrap(),
        values: pairs(values),
    };
    // An empty text and an empty list are dropped by add.
    let done = call(add("toy", "t7", &[("a", "".into()), ("b", Value::List(vec![])), ("c", "x".into())])).unwrap();
    assert_eq!(done.section("t7").unwrap().options().len(), 1);
    // An existing section takes on the type and the values.
    let done = call(add("crate", "first", &[("size", "77".into())])).unwrap();
    let first = done.section("first").unwrap();
    assert_eq!((first.kind().as_str(), first.text("size"), first.text("color")), ("crate", Some("77"), Some("red")));
    // set: the empty text removes, an empty list is refused, and nothing of that call is done.
    let done = call(set("first", &[("size", "".into()), ("nope", "".into())])).unwrap();
    assert!(done.section("first").unwrap().get("size").is_none());
    let refused = call(set("first", &[("color", "blue".into()), ("tag", Value::List(vec![]))])).unwrap_err();
    assert!(matches!(refused, ApplyError::Value { .. }));
    let not_found = |result: Result<Package, ApplyError>| matches!(result, Err(ApplyError::NotFound { .. }));
    assert!(not_found(call(set("first", &[]))));
    assert!(not_found(call(set("nope", &[("a", "1".into())]))));
    // delete: one of the options must be there.
    let delete = |section: &str, options: &[&str]| Edit::DeleteOptions {
        section: section.parse().unwrap(),
        options: options.iter().map(|name| name.parse().unwrap()).collect(),
    };
    call(delete("first", &["color", "nope"])).unwrap();
    assert!(not_found(call(delete("first", &["color", "nope"]))));
    assert!(not_found(call(delete("first", &[]))));
    assert!(not_found(call(Edit::DeleteSection { section: "nope".parse().unwrap() })));
    // rename finds nothing and says nothing.
    let rename = |section: &str, name: &str| Edit::RenameSection {
        section: section.parse().unwrap(),
        name: name.parse().unwrap(),
    };
    let before = call(rename("first", "premier")).unwrap();
    assert_eq!(call(rename("nope", "x")).unwrap(), before);
    assert!(matches!(call(rename("premier", "big")), Err(ApplyError::Edit { .. })));
    let order =
        |sections: &[&str]| Edit::Order { sections: sections.iter().map(|name| name.parse().unwrap()).collect() };
    assert_eq!(call(order(&[])).unwrap(), before);
    assert!(not_found(call(order(&["nope", "big"]))));
    let other = [Change { config: "other".parse().unwrap(), edit: order(&[]) }];
    assert!(matches!(apply(&mut read(TOYS), &other), Err(ApplyError::OtherPackage { .. })));
}

/// A record as `uci changes` tells it.
fn told(record: &Record) -> Vec<String> {
    let words = |words: &[&dyn std::fmt::Display]| words.iter().map(ToString::to_string).collect();
    match record {
        Record::Section { section, kind } => words(&[&"set", section, kind]),
        Record::Option { section, option, text } => words(&[&"set", section, option, text]),
        Record::Item { section, option, item } => words(&[&"list-add", section, option, item]),
        Record::RemovedSection { section } => words(&[&"remove", section]),
        Record::RemovedOption { section, option } => words(&[&"remove", section, option]),
        Record::RenamedSection { section, name } => words(&[&"rename", section, name]),
        Record::RenamedOption { section, option, name } => words(&[&"rename", section, option, name]),
        Record::Order { section, place } => words(&[&"order", section, place]),
    }
}

#[test]
fn calls_are_written_down_as_rpcd_does() {
    let mut toys = read(TOYS);
    let mut log = |edit: Edit| {
        let records = apply(&mut toys, &change(edit)).unwrap();
        records.iter().map(|record| told(record).join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(log(set("first", &[("color", "red".into())])), Vec::<String>::new());
    let list = ["a", "b"].into();
    assert_eq!(
        log(set("first", &[("tag", list)])),
        ["remove first tag", "list-add first tag a", "list-add first tag b"]
    );
    assert_eq!(log(set("first", &[("tag", "a".into())])), ["remove first tag", "set first tag a"]);
    assert_eq!(log(set("first", &[("color", ["red"].into())])), ["remove first color", "list-add first color red"]);
    assert_eq!(log(set("first", &[("shape", "".into()), ("size", "".into())])), ["remove first size"]);
    let add = |kind: &str, name: &str, values: &[(&str, Value)]| Edit::Add {
        kind: kind.parse().unwrap(),
        name: name.parse().unwrap(),
        values: pairs(values),
    };
    assert_eq!(
        log(add("toy", "third", &[("color", "blue".into()), ("size", "9".into()), ("tag", ["x", "y"].into())])),
        ["set third toy", "set third color blue", "set third size 9", "list-add third tag x", "list-add third tag y"]
    );
    // Onto a section that is there: the type only where it differs, and items after those it has.
    assert_eq!(log(add("toy", "third", &[("tag", ["z"].into())])), ["list-add third tag z"]);
    assert_eq!(log(add("crate", "empty", &[("label", "c".into())])), ["set empty crate", "set empty label c"]);
    let (big, label, name) = ("big".parse().unwrap(), "label".parse().unwrap(), "title".parse().unwrap());
    assert_eq!(log(Edit::RenameOption { section: big, option: label, name }), ["rename big label title"]);
    let sections = vec!["big".parse().unwrap(), "empty".parse().unwrap()];
    assert_eq!(log(Edit::Order { sections }), ["order big 0", "order empty 1"]);
    let (empty, name) = ("empty".parse().unwrap(), "full".parse().unwrap());
    assert_eq!(log(Edit::RenameSection { section: empty, name }), ["rename empty full"]);
    let options = vec!["color".parse().unwrap(), "nope".parse().unwrap()];
    assert_eq!(log(Edit::DeleteOptions { section: "big".parse().unwrap(), options }), ["remove big color"]);
    assert_eq!(log(Edit::DeleteSection { section: "big".parse().unwrap() }), ["remove big"]);
    assert_eq!(toys.section("third").unwrap().get("tag"), Some(&["x", "y", "z"].into()));
}
