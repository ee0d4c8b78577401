//! Each construct of the language, and each error.

use uci::{Config, Package, PackageName, ParseError, Value};

use crate::{TOYS, read};

/// The value of `option o` in the only section, and the text prints back.
fn value(line: &str) -> Value {
    let text = format!("config t 's'\n{line}\n");
    let package = read(&text);
    assert_eq!(package.print(), text);
    package.section("s").unwrap().get("o").unwrap().clone()
}

fn error(text: &str) -> (usize, usize, String) {
    let ParseError { line, column, kind } = Package::parse(PackageName::new("toys").unwrap(), text).unwrap_err();
    (line, column, kind.to_string())
}

#[test]
fn a_file_of_libuci_reads_and_prints_back_both_ways() {
    let toys = read(TOYS);
    assert_eq!(toys.print(), TOYS);
    assert_eq!(toys.canonical(), TOYS);
    let ids: Vec<_> = toys.sections().map(|section| section.name().as_str()).collect();
    assert_eq!(ids, ["first", "cfg02af21", "cfg03af21", "empty", "big"]);
    assert_eq!(toys.section("first").unwrap().get("tag"), Some(&Value::from(["a", "b"])));
}

#[test]
fn sections_are_found_by_name_id_and_position() {
    let toys = read(TOYS);
    let color = |key: &str| toys.section(key).and_then(|section| section.text("color"));
    assert_eq!(color("first"), Some("red"));
    assert_eq!(color("cfg02af21"), Some("blue"));
    assert_eq!(color("@toy[1]"), Some("blue"));
    assert_eq!(color("@box[1]"), Some("red"));
    assert_eq!(toys.section("@toy[-1]").unwrap().text("size"), Some("3"));
    for missing in ["@toy[9]", "@toy[-4]", "@nope[0]", "@toy[x]", "@toy[0", "@", "nope", ""] {
        assert!(toys.section(missing).is_none(), "{missing}");
    }
}

#[test]
fn values_are_quoted_in_every_way() {
    for (line, expected) in [
        ("option o plain", "plain"),
        ("\toption o 'single'", "single"),
        ("  option   o\t\"double\"  ", "double"),
        ("option o 'a'\"b\"c", "abc"),
        ("option o a'b c'd", "ab cd"),
        ("option o 'it'\\''s'", "it's"),
        ("option o \"a\\\"b\\\\c\"", "a\"b\\c"),
        ("option o 'a\\b'", "a\\b"),
        ("option o a\\ b", "a b"),
        ("option o \\#a\\;b", "#a;b"),
        ("option o '#a;b'", "#a;b"),
        ("option o \"#a;b\"", "#a;b"),
        ("option o '\"'", "\""),
        ("option o \"'\"", "'"),
        ("option o a\\\nb", "ab"),
        ("option o \"a\\\nb\"", "ab"),
        ("option o \\\n\t'a'", "a"),
        ("option \\\r\n o a", "a"),
        ("option o 'a\nb'", "a\nb"),
        ("option o \"a\nb\"", "a\nb"),
        ("option o 'a\n# no comment\n\nb'", "a\n# no comment\n\nb"),
        ("option o 'Grüße 日本'", "Grüße 日本"),
        ("option o a # comment", "a"),
        ("option o a#comment", "a"),
        ("option o 'a'#comment", "a"),
        ("option o a '' # nothing more", "a"),
        ("option 'o' a", "a"),
        ("o o a", "a"),
        ("option o a\r", "a"),
    ] {
        assert_eq!(value(line), Value::from(expected), "{line:?}");
    }
}

#[test]
fn lists_grow_and_options_repeat() {
    assert_eq!(value("list o a\nlist o b"), Value::from(["a", "b"]));
    assert_eq!(value("list o a\noption x 1\nl o b"), Value::from(["a", "b"]));
    assert_eq!(value("list o"), Value::from([""]));
    assert_eq!(value("option o a\noption o b"), Value::from("b"));
    assert_eq!(value("option o a\nlist o b"), Value::from(["a", "b"]));
    assert_eq!(value("list o a\noption o b"), Value::from("b"));
}

#[test]
fn an_empty_option_is_none() {
    for line in ["option o", "option o ''", "option o a\noption o ''"] {
        let text = format!("config t 's'\n{line}\n");
        assert!(read(&text).section("s").unwrap().get("o").is_none(), "{line}");
    }
}

#[test]
fn a_section_that_comes_again_goes_on() {
    let text =
        "config t 's' # one\n\toption a 1\n\n# two\nconfig u 'x'\n\n# three\nconfig t 's'\n\toption b 2 # four\n";
    let mut package = read(text);
    assert_eq!(package.print(), text);
    assert_eq!(package.len(), 2);
    let section = package.section_mut("s").unwrap();
    assert_eq!((section.text("a"), section.text("b")), (Some("1"), Some("2")));
    section.set("b", "3").unwrap();
    let printed = package.print();
    assert_eq!(read(&printed), package);
    for comment in ["# one", "# two", "# three", "# four"] {
        assert_eq!(printed.matches(comment).count(), 1, "{comment} in {printed}");
    }
}

#[test]
fn statements_share_a_line() {
    let text = "config t 's'; option a 1;option b 2 # c\nconfig t 'r'; list l 1; # d\nlist l 2;";
    let mut package = read(text);
    assert_eq!(package.print(), text);
    assert_eq!(package.section("s").unwrap().text("b"), Some("2"));
    assert_eq!(package.section("r").unwrap().get("l"), Some(&Value::from(["1", "2"])));
    package.section_mut("r").unwrap().set("a", "x").unwrap();
    let printed = package.print();
    assert_eq!(read(&printed), package);
    assert!(printed.contains("# c\n") && printed.contains("# d\n"), "{printed}");
}

#[test]
fn a_name_of_nothing_is_anonymous() {
    let package = read("config t ''\nconfig t\n");
    assert!(package.sections().all(uci::Section::is_anonymous));
    assert_eq!(package.len(), 2);
}

#[test]
fn package_lines_are_read_over() {
    let text = "package other\n\nconfig t 's'\npackage more # and on\n\toption a 1\n";
    let package = read(text);
    assert_eq!(package.print(), text);
    assert_eq!(package.name().as_str(), "toys");
    assert_eq!(package.section("s").unwrap().text("a"), Some("1"));
}

#[test]
fn types_may_hold_what_only_libuci_takes() {
    let text = "config my.type 's'\nconfig 'odd#type' 'r'\n";
    let package = read(text);
    assert_eq!(package.section("s").unwrap().kind().as_str(), "my.type");
    assert_eq!(read(&package.canonical()), package);
}

#[test]
fn files_without_sections_are_kept() {
    for text in ["", "\n", "# only a comment", "\n# one\n\n# two\n", "package x\n", "   \t\r\n"] {
        assert_eq!(read(text).print(), text);
        assert!(read(text).is_empty());
    }
}

#[test]
fn errors_tell_where_and_what() {
    let cases = [
        ("foo bar\n", 1, 1, "\"foo\" begins no statement: expected package, config, option or list"),
        (
            "config t 's'\n\n  optoin a b\n",
            3,
            3,
            "\"optoin\" begins no statement: expected package, config, option or list",
        ),
        ("config;", 1, 1, "\"config;\" begins no statement: expected package, config, option or list"),
        ("config\n", 1, 7, "config stands alone: expected a section type behind it"),
        ("config # t\n", 1, 8, "config stands alone: expected a section type behind it"),
        ("config t 's'\n\toption\n", 2, 8, "option stands alone: expected a name behind it"),
        ("package", 1, 8, "package stands alone: expected a package name behind it"),
        ("config t 's' x\n", 1, 14, "\"x\" is too much: expected the end of the line, ';' or a comment"),
        ("package a b\n", 1, 11, "\"b\" is too much: expected the end of the line, ';' or a comment"),
        ("config t 's'\noption ü 'a'\n", 2, 8, "\"ü\" is no option name: expected letters, digits and '_'"),
        ("config t 'a-b'\n", 1, 10, "\"a-b\" is no section name: expected letters, digits and '_'"),
        ("config 'a b'\n", 1, 8, "\"a b\" is no section type: expected printable ASCII without spaces"),
        ("package a.b\n", 1, 9, "\"a.b\" is no package name: expected letters, digits, '_' and '-'"),
        ("config t 's'\noption ö 'a\n\nb", 2, 10, "a text begins here and does not end: expected another '"),
        ("config t 's'\noption o \"a\\\"\n", 2, 10, "a text begins here and does not end: expected another \""),
        ("\noption o a\n", 2, 1, "option stands before the first section: expected config"),
        ("list o a\n", 1, 1, "list stands before the first section: expected config"),
        ("config t 's'\nconfig u 's'\n", 2, 8, "section s comes again as u: expected its type to stay t"),
        ("config t 's'\n# a\0b\n", 2, 4, "a NUL character stands here: expected text"),
        ("config t 's';\noption a b\n", 1, 14, "\"\" begins no statement: expected package, config, option or list"),
    ];
    for (text, line, column, message) in cases {
        assert_eq!(error(text), (line, column, message.to_owned()), "{text:?}");
    }
}

#[test]
fn an_export_is_read_and_prints_back() {
    let text = "# saved on Monday\npackage network\n\nconfig interface 'lan'\n\n# the other\npackage dhcp # leases\n\nconfig dhcp 'lan'; option x 1\n\npackage empty\n\n";
    let mut config = Config::parse(text).unwrap();
    assert_eq!(config.to_string(), text);
    let names: Vec<_> = config.packages().map(|package| package.name().as_str()).collect();
    assert_eq!(names, ["network", "dhcp", "empty"]);
    config.get_mut("network").unwrap().section_mut("lan").unwrap().set("proto", "dhcp").unwrap();
    config.insert(read(TOYS));
    let expected = text.replace("'lan'\n\n# the other", "'lan'\n\toption proto 'dhcp'\n\n# the other");
    assert_eq!(config.to_string(), format!("{expected}package toys\n{TOYS}"));
    assert_eq!(Config::parse(&config.to_string()).unwrap(), config);
    assert_eq!(config.remove(&"empty".parse().unwrap()).unwrap().len(), 0);
    assert_eq!(config.packages().len(), 3);
}

#[test]
fn an_export_begins_with_a_package_and_has_each_once() {
    let message = |text: &str| Config::parse(text).unwrap_err().to_string();
    assert_eq!(message("\nconfig a b\n"), "line 2, column 1: this stands before the first package: expected package");
    let twice = "package a\nconfig t 's'\npackage a\n";
    assert_eq!(message(twice), "line 3, column 9: package a comes again: expected each package once");
    let faulty = "package a\nconfig t 's'\npackage b\nconfig\n";
    assert!(message(faulty).starts_with("line 4, column 7: "), "{}", message(faulty));
}

#[test]
fn what_another_program_tells_makes_a_package() {
    use uci::{Identity, Section};
    let toys = read(TOYS);
    let told = toys.sections().map(|section| {
        let name = section.name().clone();
        let identity = if section.is_anonymous() { Identity::Anonymous(name) } else { Identity::Named(name) };
        let options = section.options().map(|(name, value)| (name.clone(), value.clone()));
        Section::from_parts(section.kind().clone(), identity, options)
    });
    let package = Package::from_sections(toys.name().clone(), told).unwrap();
    assert_eq!(package, toys);
    assert_eq!(package.print(), TOYS);
    let twice = toys.sections().chain(toys.sections()).cloned();
    let error = Package::from_sections(toys.name().clone(), twice).unwrap_err();
    assert_eq!(error.to_string(), "package toys already has a section first");
}
