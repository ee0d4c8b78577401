//! Edits in place: what is touched is canonical, the rest stays as it was.

use uci::{EditError, Package, PackageName, Value};

use crate::{TOYS, read};

const COMMENTED: &str = "# The house's network.
# Ask Ada before you touch it.

# where the sofa is
config interface lan   # downstairs
  option proto static
  # the old one was .2
  option ipaddr \"10.0.0.1\" # router
  list dns 1.1.1.1 # first
  list dns 9.9.9.9 # second
  # option mtu 1400

# the way out
config interface 'wan'
	option proto 'dhcp'

# the end
";

fn edited(edit: impl FnOnce(&mut Package)) -> String {
    let mut package = read(COMMENTED);
    edit(&mut package);
    let printed = package.print();
    assert_eq!(read(&printed), package, "{printed}");
    printed
}

#[test]
fn setting_an_option_leaves_the_comments_around_it() {
    let printed = edited(|package| package.section_mut("lan").unwrap().set("ipaddr", "10.9.0.1").unwrap());
    assert_eq!(
        printed,
        COMMENTED.replace("  option ipaddr \"10.0.0.1\" # router", "\toption ipaddr '10.9.0.1' # router")
    );
}

#[test]
fn an_option_is_added_behind_the_last() {
    let printed = edited(|package| package.section_mut("lan").unwrap().set("mtu", 1400_u16).unwrap());
    let expected = COMMENTED.replace("# second\n", "# second\n\toption mtu '1400'\n");
    assert_eq!(printed, expected);
}

#[test]
fn setting_what_is_so_changes_nothing() {
    let printed = edited(|package| {
        let lan = package.section_mut("lan").unwrap();
        lan.set("proto", "static").unwrap();
        lan.set("dns", ["1.1.1.1", "9.9.9.9"]).unwrap();
        lan.set("nothing", "").unwrap();
    });
    assert_eq!(printed, COMMENTED);
}

#[test]
fn items_that_stay_keep_their_lines() {
    let printed =
        edited(|package| package.section_mut("lan").unwrap().set("dns", ["1.1.1.1", "8.8.8.8", "9.9.9.9"]).unwrap());
    assert_eq!(printed, COMMENTED.replace("# first\n", "# first\n\tlist dns '8.8.8.8'\n"));
    let printed = edited(|package| package.section_mut("lan").unwrap().set("dns", ["9.9.9.9"]).unwrap());
    assert_eq!(printed, COMMENTED.replace("  list dns 1.1.1.1 # first\n", ""));
    let printed = edited(|package| package.section_mut("lan").unwrap().set("dns", ["1.1.1.1", "8.8.8.8"]).unwrap());
    assert_eq!(printed, COMMENTED.replace("  list dns 9.9.9.9 # second", "\tlist dns '8.8.8.8' # second"));
    let printed = edited(|package| package.section_mut("lan").unwrap().set("dns", "8.8.8.8").unwrap());
    let expected = COMMENTED.replace("  list dns 9.9.9.9 # second\n", "");
    assert_eq!(printed, expected.replace("  list dns 1.1.1.1 # first", "\toption dns '8.8.8.8' # first"));
}

#[test]
fn deleting_an_option_leaves_the_comment_before_it() {
    let printed = edited(|package| {
        let was = package.section_mut("lan").unwrap().delete("ipaddr").unwrap();
        assert_eq!(was, Value::from("10.0.0.1"));
    });
    assert_eq!(printed, COMMENTED.replace("  option ipaddr \"10.0.0.1\" # router\n", ""));
}

#[test]
fn renaming_keeps_place_and_comments() {
    let printed = edited(|package| {
        package.section_mut("lan").unwrap().rename("dns", "resolver").unwrap();
        package.rename("lan", "home").unwrap();
    });
    let expected = COMMENTED
        .replace("config interface lan   # downstairs", "config interface 'home' # downstairs")
        .replace("  list dns 1.1.1.1", "\tlist resolver '1.1.1.1'")
        .replace("  list dns 9.9.9.9", "\tlist resolver '9.9.9.9'");
    assert_eq!(printed, expected);
}

#[test]
fn a_type_is_changed_in_place() {
    let printed = edited(|package| package.section_mut("wan").unwrap().set_kind("uplink".parse().unwrap()));
    assert_eq!(printed, COMMENTED.replace("config interface 'wan'", "config uplink 'wan'"));
}

#[test]
fn a_deleted_section_leaves_the_comment_before_it() {
    let printed = edited(|package| {
        package.delete("wan").unwrap();
    });
    assert_eq!(printed, COMMENTED.replace("config interface 'wan'\n\toption proto 'dhcp'\n", ""));
}

#[test]
fn what_is_added_and_deleted_leaves_no_trace() {
    for text in [COMMENTED, TOYS, "", "# only a comment\n", "\n", "config a"] {
        let mut package = read(text);
        package.add("toy", "extra").unwrap().set("color", "red").unwrap();
        package.delete("extra").unwrap();
        assert_eq!(package.print(), text);
    }
}

#[test]
fn a_section_is_added_before_what_ends_the_file() {
    let printed = edited(|package| package.add("route", "r1").unwrap().set("target", "10.1.0.0/16").unwrap());
    let section = "\nconfig route 'r1'\n\toption target '10.1.0.0/16'\n\n# the end";
    assert_eq!(printed, COMMENTED.replace("\n# the end", section));
}

#[test]
fn a_file_without_its_last_newline_gets_it_when_something_follows() {
    let mut package = read("config a 'b'\n\toption c 'd'");
    package.section_mut("b").unwrap().set("e", "f").unwrap();
    package.add("a", "g").unwrap();
    assert_eq!(package.print(), "config a 'b'\n\toption c 'd'\n\toption e 'f'\n\nconfig a 'g'\n");
}

#[test]
fn order_moves_sections_with_their_comments() {
    let printed = edited(|package| package.order(&["wan"]).unwrap());
    let head = "# The house's network.\n# Ask Ada before you touch it.\n\n# the way out\nconfig interface 'wan'\n";
    assert!(printed.starts_with(head), "{printed}");
    assert!(printed.ends_with("# option mtu 1400\n\n# the end\n"), "{printed}");
}

#[test]
fn order_is_that_of_rpcd() {
    let mut toys = read(TOYS);
    let names = |toys: &Package| toys.sections().map(|section| section.name().to_string()).collect::<Vec<_>>();
    toys.order(&["big", "empty"]).unwrap();
    assert_eq!(names(&toys), ["big", "empty", "first", "cfg02af21", "cfg03af21"]);
    let missing = toys.order(&["nope", "first"]).unwrap_err();
    assert_eq!(missing.to_string(), "package toys has no section \"nope\"");
    toys.order(&["first", "first"]).unwrap();
    assert_eq!(names(&toys), ["big", "first", "empty", "cfg02af21", "cfg03af21"]);
}

#[test]
fn a_new_package_prints_as_libuci_writes() {
    let mut toys = Package::new(PackageName::new("toys").unwrap());
    let first = toys.add("toy", "first").unwrap();
    first.set("color", "it's \"red\"\nand blue").unwrap();
    first.set("tag", ["a", "b"]).unwrap();
    toys.add_anonymous("toy").unwrap().set("on", true).unwrap();
    let expected = "
config toy 'first'
	option color 'it'\\''s \"red\"
and blue'
	list tag 'a'
	list tag 'b'

config toy
	option on '1'

";
    assert_eq!(toys.print(), expected);
    assert_eq!(toys.canonical(), expected);
}

#[test]
fn ids_of_anonymous_sections_stay_until_they_are_renumbered() {
    let mut toys = read(TOYS);
    assert_eq!(toys.add_anonymous("toy").unwrap().name().as_str(), "cfg06af21");
    toys.delete("@toy[0]").unwrap();
    toys.delete("cfg02af21").unwrap();
    assert_eq!(toys.section("@toy[0]").unwrap().name().as_str(), "cfg03af21");
    toys.rename("cfg03af21", "third").unwrap();
    assert!(!toys.section("third").unwrap().is_anonymous());
    toys.renumber();
    let ids: Vec<_> = toys.sections().map(|section| section.name().as_str()).collect();
    assert_eq!(ids, ["third", "empty", "big", "cfg04af21"]);
    assert_eq!(toys.section("cfg04af21").unwrap().name().as_str(), "cfg04af21");
    assert!(toys.section("cfg06af21").is_none());
}

#[test]
fn an_id_that_is_a_name_is_passed_over() {
    let package = read("config toy 'cfg02af21'\nconfig toy\n");
    let ids: Vec<_> = package.sections().map(|section| section.name().as_str()).collect();
    assert_eq!(ids, ["cfg02af21", "cfg03af21"]);
}

#[test]
fn edits_that_cannot_be_done_say_why_and_change_nothing() {
    let mut toys = read(TOYS);
    let message = |error: EditError| error.to_string();
    assert_eq!(message(toys.add("toy", "first").unwrap_err()), "package toys already has a section first");
    assert_eq!(
        message(toys.add("toy", "a-b").unwrap_err()),
        "\"a-b\" is no section name: expected letters, digits and '_'"
    );
    assert_eq!(message(toys.delete("nope").unwrap_err()), "package toys has no section \"nope\"");
    assert_eq!(message(toys.rename("first", "big").unwrap_err()), "package toys already has a section big");
    let first = toys.section_mut("first").unwrap();
    assert_eq!(message(first.delete("nope").unwrap_err()), "section first has no option \"nope\"");
    assert_eq!(message(first.rename("color", "size").unwrap_err()), "section first already has an option size");
    assert!(matches!(first.set("color", "\u{7}").unwrap_err(), EditError::Value { .. }));
    assert!(matches!(first.set("tag", Value::List(Vec::new())).unwrap_err(), EditError::Value { .. }));
    assert_eq!(toys.print(), TOYS);
}

/// Emptying a file took time by the square of its size when comments stayed behind.
#[test]
fn a_big_file_is_emptied_section_by_section() {
    let sections = |line: &str| (0..10_000).map(|number| line.replace('N', &number.to_string())).collect::<String>();
    let mut package = read(&sections("# host N\nconfig host 'hN'\n\toption ip '10.0.0.N'\n"));
    for number in 0..10_000 {
        package.delete(&format!("h{number}")).unwrap();
    }
    assert_eq!(package.print(), sections("# host N\n"));
}
