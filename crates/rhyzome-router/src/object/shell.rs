//! The commands of an OpenWrt system that act on the router itself and not on the machine that it runs on.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::uci::replay;
use crate::json::Json;
use crate::question::{Question, Target};
use crate::rpcd::{Outcome, Rpcd};
use crate::tree::{Change, Item, Tree};

/// What the `uci` command has staged (`/tmp/.uci`): config → steps.
pub(crate) type Staging = BTreeMap<String, Vec<Change>>;

const UCI: &str = "/sbin/uci";
const IFUP: &str = "/sbin/ifup";
const IFDOWN: &str = "/sbin/ifdown";
const RELOAD_CONFIG: &str = "/sbin/reload_config";
const RPCD: &str = "/etc/init.d/rpcd";
const INIT: [(&str, &str); 5] = [
    ("/etc/init.d/network", "network"),
    ("/etc/init.d/dnsmasq", "dhcp"),
    ("/etc/init.d/firewall", "firewall"),
    ("/etc/init.d/uhttpd", "uhttpd"),
    (RPCD, "rpcd"),
];

/// The path of such a command, given by path or by name.
pub(crate) fn find(command: &str) -> Option<&'static str> {
    let known = [UCI, IFUP, IFDOWN, RELOAD_CONFIG].into_iter().chain(INIT.map(|(path, _)| path));
    let mut known = known.filter(|path| *path == command || path.strip_prefix("/sbin/") == Some(command));
    known.next()
}

/// Runs it.
pub(crate) fn run(rpcd: &mut Rpcd, program: &'static str, params: &[String]) -> Outcome {
    let params: Vec<&str> = params.iter().map(String::as_str).collect();
    match (program, params.as_slice()) {
        (UCI, params) => match uci(rpcd, params) {
            Ok(stdout) => done(0, &stdout, ""),
            Err(message) => done(1, "", &format!("uci: {message}\n")),
        },
        (IFUP, [interface]) => Outcome::Run(Question::Switch { interface: (*interface).to_owned(), to: Target::Up }),
        (IFDOWN, [interface]) => {
            Outcome::Run(Question::Switch { interface: (*interface).to_owned(), to: Target::Down })
        }
        (RELOAD_CONFIG, []) => {
            for config in rpcd.configs.names() {
                rpcd.note_changed(&config);
            }
            done(0, "", "")
        }
        (RPCD, ["restart"]) => {
            rpcd.restart();
            done(0, "", "")
        }
        (_, ["reload" | "restart"]) => {
            if let Some((_, config)) = INIT.iter().find(|(path, _)| *path == program) {
                rpcd.note_changed(config);
            }
            done(0, "", "")
        }
        _ => done(1, "", "Syntax error\n"),
    }
}

/// The answer of `file exec`.
pub(crate) fn done(code: i64, stdout: &str, stderr: &str) -> Outcome {
    let mut members = vec![("code".to_owned(), Json::Int(code))];
    for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
        if !text.is_empty() {
            members.push((name.to_owned(), text.into()));
        }
    }
    Outcome::Answer(Ok(Some(members)))
}

type Said = Result<String, &'static str>;

const NOT_FOUND: &str = "Entry not found";
const INVALID: &str = "Invalid argument";

fn uci(rpcd: &mut Rpcd, params: &[&str]) -> Said {
    let params = match params {
        ["-q", rest @ ..] => rest,
        params => params,
    };
    match params {
        ["commit"] => {
            let configs: Vec<String> = rpcd.command_line.keys().cloned().collect();
            configs.iter().try_for_each(|config| commit(rpcd, config))?;
            Ok(String::new())
        }
        ["commit", config] => commit(rpcd, config).map(|()| String::new()),
        ["revert", config] => {
            rpcd.command_line.remove(*config);
            Ok(String::new())
        }
        ["show", config] => show(&load(rpcd, config)?, config),
        ["export", config] => Ok(format!("package {config}\n{}", load(rpcd, config)?)),
        ["get", key] => get(rpcd, key),
        ["add", config, kind] => {
            let section = load(rpcd, config)?.next_id(kind);
            stage(rpcd, config, Change::Add { section: section.clone(), kind: (*kind).to_owned() })?;
            Ok(section + "\n")
        }
        [verb @ ("set" | "add_list" | "del_list" | "delete" | "rename" | "reorder"), argument] => {
            edit(rpcd, verb, argument).map(|()| String::new())
        }
        _ => Err("Syntax error"),
    }
}

/// What `config.section.option` names, as far as it goes.
struct Key<'a> {
    config: &'a str,
    tree: Tree,
    section: Option<String>,
    option: Option<String>,
}

/// Reads a key, in which the section stands as name, id or position.
fn key<'a>(rpcd: &Rpcd, key: &'a str) -> Result<Key<'a>, &'static str> {
    let mut parts = key.splitn(3, '.');
    let config = parts.next().filter(|config| !config.is_empty()).ok_or(INVALID)?;
    let tree = load(rpcd, config)?;
    let section = parts.next().map(|section| match tree.lookup(section) {
        Some(found) => found.name.clone(),
        None => section.to_owned(),
    });
    Ok(Key { config, tree, section, option: parts.next().map(str::to_owned) })
}

fn load(rpcd: &Rpcd, config: &str) -> Result<Tree, &'static str> {
    let mut tree = rpcd.configs.load(config).map_err(|_| NOT_FOUND)?;
    replay(&mut tree, rpcd.command_line.get(config).map_or(&[], Vec::as_slice));
    Ok(tree)
}

fn stage(rpcd: &mut Rpcd, config: &str, change: Change) -> Result<(), &'static str> {
    load(rpcd, config)?.apply(&change).map_err(|_| NOT_FOUND)?;
    rpcd.command_line.entry(config.to_owned()).or_default().push(change);
    Ok(())
}

fn commit(rpcd: &mut Rpcd, config: &str) -> Result<(), &'static str> {
    let Some(steps) = rpcd.command_line.remove(config) else { return Ok(()) };
    let mut tree = rpcd.configs.load(config).map_err(|_| NOT_FOUND)?;
    replay(&mut tree, &steps);
    rpcd.configs.write(config, &tree.to_string()).map_err(|_| "I/O error")
}

fn edit(rpcd: &mut Rpcd, verb: &str, argument: &str) -> Result<(), &'static str> {
    let (target, value) = match argument.split_once('=') {
        Some((target, value)) => (target, Some(value.to_owned())),
        None => (argument, None),
    };
    let Key { config, tree, section, option } = key(rpcd, target)?;
    let section = section.ok_or(INVALID)?;
    let change = match (verb, option, value) {
        ("delete", option, None) => Change::Remove { section, option },
        ("set", None, Some(kind)) if !kind.is_empty() => Change::Type { section, kind },
        ("set", option, Some(value)) if value.is_empty() => {
            let present = tree.section(&section).and_then(|section| section.get(option.as_deref()?));
            if present.is_none() {
                return Ok(());
            }
            Change::Remove { section, option }
        }
        ("set", Some(option), Some(value)) => Change::Set { section, option, value },
        ("add_list", Some(option), Some(value)) => Change::ListAdd { section, option, value },
        ("del_list", Some(option), Some(value)) => Change::ListRemove { section, option, value },
        ("rename", option, Some(name)) => Change::Rename { section, option, name },
        ("reorder", None, Some(position)) => {
            Change::Order { section, position: position.parse().map_err(|_| INVALID)? }
        }
        _ => return Err(INVALID),
    };
    stage(rpcd, config, change)
}

fn get(rpcd: &Rpcd, argument: &str) -> Said {
    let Key { tree, section, option, .. } = key(rpcd, argument)?;
    let section = section.and_then(|section| tree.section(&section).cloned()).ok_or(NOT_FOUND)?;
    match option {
        None => Ok(format!("{}\n", section.kind)),
        Some(option) => match section.get(&option).ok_or(NOT_FOUND)? {
            Item::Scalar(text) => Ok(format!("{text}\n")),
            Item::List(items) => Ok(format!("{}\n", items.join(" "))),
        },
    }
}

fn show(tree: &Tree, config: &str) -> Said {
    let mut out = String::new();
    for section in tree.sections() {
        let name = &section.name;
        let _ = writeln!(out, "{config}.{name}={}", section.kind); // writing to a string cannot fail
        for (option, item) in section.options() {
            let quoted = |text: &String| format!("'{}'", text.replace('\'', r"'\''"));
            let text = match item {
                Item::Scalar(text) => quoted(text),
                Item::List(items) => items.iter().map(quoted).collect::<Vec<_>>().join(" "),
            };
            let _ = writeln!(out, "{config}.{name}.{option}={text}");
        }
    }
    Ok(out)
}
