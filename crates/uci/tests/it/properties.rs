//! What holds for any text and any package.

use proptest::prelude::*;
use uci::{Package, PackageName, Section, Value, apply, diff, diff_owned};

use crate::read;

fn name() -> impl Strategy<Value = String> {
    // Few names, so that they meet.
    prop_oneof!["[a-e]", "[A-Za-z0-9_]{1,8}"]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~\n\t\r]{0,12}", "[a-c'\"\\\\#; \n]{0,8}", "\\PC{0,4}"]
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = text().prop_filter("an empty option is none", |text| !text.is_empty()).prop_map(Value::Scalar);
    prop_oneof![scalar, prop::collection::vec(text(), 1..4).prop_map(Value::List)]
}

/// A section: type, name or none, options.
type Plan = (String, Option<String>, Vec<(String, Value)>);

fn plan(name_of: impl Strategy<Value = Option<String>>) -> impl Strategy<Value = Plan> {
    ("[a-c]{1,2}(-x)?", name_of, prop::collection::vec((name(), value()), 0..5))
}

fn build(plans: &[Plan]) -> Package {
    let mut package = Package::new(PackageName::new("toys").unwrap());
    for (kind, name, options) in plans {
        let section = match name {
            None => package.add_anonymous(kind.as_str()).unwrap(),
            Some(name) if package.section(name).is_some() => continue,
            Some(name) => package.add(kind.as_str(), name.as_str()).unwrap(),
        };
        for (name, value) in options {
            section.set(name.as_str(), value.clone()).unwrap();
        }
    }
    package
}

fn package() -> impl Strategy<Value = Package> {
    prop::collection::vec(plan(prop::option::of(name())), 0..8).prop_map(|plans| build(&plans))
}

fn named_package() -> impl Strategy<Value = Package> {
    prop::collection::vec(plan(name().prop_map(Some)), 0..8).prop_map(|plans| build(&plans))
}

/// Text that is UCI more often than not.
fn file() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[a-e]",
        2 => "'[a-c #;\n]{0,3}'",
        1 => "\"[a-c #;\n]{0,3}\"",
        1 => "[a-c]'b'\"c\"",
        1 => "\\\\[a-z#' ]",
        1 => Just("''".to_owned()),
    ];
    let keyword =
        prop_oneof![3 => Just("config"), 4 => Just("option"), 3 => Just("list"), 1 => Just("package"), 1 => Just("o")];
    let end = prop_oneof![6 => Just("\n"), 1 => Just(" # note\n"), 1 => Just(";"), 1 => Just("\r\n"), 1 => Just(" \\\n\n"), 1 => Just("")];
    let gap = prop_oneof![Just(""), Just("\n"), Just("\t"), Just("  # note\n"), Just("# note\n\n")];
    let statement = (gap, keyword, prop::collection::vec(word, 1..4), end)
        .prop_map(|(gap, keyword, words, end)| format!("{gap}{keyword} {}{end}", words.join(" ")));
    prop::collection::vec(statement, 0..8).prop_map(|statements| format!("config t s\n{}", statements.concat()))
}

fn parse(text: &str) -> Option<Package> {
    Package::parse(PackageName::new("toys").unwrap(), text).ok()
}

/// Does some edit to a package, picked by a number.
fn edit(package: &mut Package, pick: usize, value: &Value) {
    let names: Vec<_> = package.sections().map(|section| section.name().clone()).collect();
    let Some(name) = names.get(pick % names.len().max(1)) else {
        package.add("t", "added").unwrap();
        return;
    };
    let options: Vec<_> = package.section(name.as_str()).unwrap().options().map(|(name, _)| name.clone()).collect();
    let option = options.get(pick / 7 % options.len().max(1)).map_or("fresh", |name| name.as_str());
    let section = package.section_mut(name.as_str()).unwrap();
    match pick % 8 {
        0 => drop(package.delete(name.as_str()).unwrap()),
        1 => drop(section.delete(option)),
        2 => drop(section.rename(option, "renamed")),
        3 => drop(package.rename(name.as_str(), "renamed")),
        4 => package.order(&[name]).unwrap(),
        5 => section.set_kind("other".parse().unwrap()),
        _ => section.set(option, value.clone()).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[ \n\tconfigoptinlspakge'\"\\\\#;]{0,60}") {
        if let Some(package) = parse(&text) {
            prop_assert_eq!(package.print(), text);
        }
    }

    #[test]
    fn what_is_read_prints_back(text in file()) {
        if let Some(package) = parse(&text) {
            prop_assert_eq!(package.print(), text.as_str());
            let mut again = read(&package.canonical());
            again.renumber();
            let mut package = package;
            package.renumber();
            prop_assert_eq!(again, package);
        }
    }

    #[test]
    fn what_is_built_reads_back(package in package()) {
        let printed = package.print();
        prop_assert_eq!(&printed, &package.canonical());
        prop_assert_eq!(read(&printed), package);
    }

    #[test]
    fn what_is_edited_reads_back(text in file(), picks in prop::collection::vec(any::<u16>(), 1..6), value in value()) {
        if let Some(mut package) = parse(&text) {
            for pick in picks {
                edit(&mut package, usize::from(pick), &value);
            }
            package.renumber();
            let printed = package.print();
            let again = parse(&printed);
            prop_assert_eq!(again.as_ref(), Some(&package), "{}", printed);
        }
    }

    #[test]
    fn an_applied_difference_gives_its_target(from in named_package(), to in named_package()) {
        let changes = diff(&from, &to).unwrap();
        let mut applied = from.clone();
        apply(&mut applied, &changes).unwrap();
        prop_assert_eq!(&applied, &to);
        prop_assert_eq!(diff(&applied, &to).unwrap(), vec![]);
        prop_assert_eq!(changes.is_empty(), from == to);
    }

    #[test]
    fn a_difference_of_owned_sections_leaves_the_rest(from in package(), to in package()) {
        let owned = |section: &Section| section.name().as_str().starts_with(['a', 'b']);
        let changes = diff_owned(&from, &to, owned).unwrap();
        let mut applied = from.clone();
        apply(&mut applied, &changes).unwrap();
        let theirs = |package: &Package| package.sections().filter(|s| s.is_anonymous() || !owned(s)).cloned().collect::<Vec<_>>();
        let ours = |package: &Package| {
            let mut ours: Vec<_> = package.sections().filter(|s| !s.is_anonymous() && owned(s)).cloned().collect();
            ours.sort_by(|a, b| a.name().cmp(b.name()));
            ours
        };
        prop_assert_eq!(theirs(&applied), theirs(&from));
        prop_assert_eq!(ours(&applied), ours(&to));
    }
}
