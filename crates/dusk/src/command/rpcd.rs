//! `dusk rpcd`: rpcd's object `dusk`, for LuCI and whoever else calls ubus.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use fleet::document::Document;
use fleet::status::Status;
use serde_json::{Map, Value, json};
use ubus::{Client, Local};

use super::{Given, print};
use crate::{apply, device};

/// A method of the object.
struct Method {
    name: &'static str,
    /// Its arguments, as examples: rpcd tells their types by them.
    arguments: &'static [(&'static str, Kind)],
    call: fn(&Map<String, Value>) -> anyhow::Result<Value>,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
}

/// All methods. The files `acl.json` say who may call which.
const METHODS: &[Method] = &[
    Method { name: "version", arguments: &[], call: |_| Ok(json!({"version": env!("CARGO_PKG_VERSION")})) },
    Method { name: "status", arguments: &[], call: |_| status() },
    Method { name: "facts", arguments: &[], call: |_| facts() },
    Method { name: "state", arguments: &[], call: |_| state(Path::new("/")) },
    Method { name: "check", arguments: &[("section", Kind::Text), ("content", Kind::Text)], call: check },
];

/// `dusk rpcd list`, `dusk rpcd call <method>`.
pub fn execute(given: &Given) -> anyhow::Result<ExitCode> {
    let answer = match (given.argument("verb"), given.optional("method")) {
        ("list", None) => list(),
        ("call", Some(name)) => {
            let mut text = String::new();
            std::io::stdin().take(1 << 20).read_to_string(&mut text).context("cannot read the arguments")?;
            answer(name, &text)
        }
        _ => bail!("expected list, or call and a method"),
    };
    print(&format!("{answer}\n"))
}

fn list() -> Value {
    let arguments = |method: &Method| {
        let examples = method.arguments.iter().map(|(name, kind)| match kind {
            Kind::Text => ((*name).to_owned(), json!("")),
        });
        (method.name.to_owned(), Value::Object(examples.collect()))
    };
    Value::Object(METHODS.iter().map(arguments).collect())
}

/// What a call answers. rpcd passes on an object, so that what went wrong is a member of it.
fn answer(name: &str, arguments: &str) -> Value {
    let called = || -> anyhow::Result<Value> {
        let method = METHODS.iter().find(|method| method.name == name);
        let method = method.with_context(|| format!("there is no method {name:?}"))?;
        let arguments: Value = match arguments.trim() {
            "" => json!({}),
            text => serde_json::from_str(text).context("the arguments are no JSON")?,
        };
        let Value::Object(arguments) = arguments else { bail!("the arguments are no object") };
        (method.call)(&arguments)
    };
    called().unwrap_or_else(|error| json!({"error": format!("{error:#}")}))
}

fn with_client<T>(ask: impl AsyncFnOnce(&Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::of_root(Arc::new(Local::new(Path::new(Local::SOCKET))));
    runtime.block_on(ask(&client))
}

fn status() -> anyhow::Result<Value> {
    let status = with_client(async |client| Ok(device::status(client, Path::new("/")).await?))?;
    Ok(told(&status))
}

/// A status in JSON.
pub fn told(status: &Status) -> Value {
    let board = &status.board;
    json!({
        "board": {
            "hostname": board.hostname, "model": board.model, "board": board.board, "release": board.release,
            "target": board.target, "kernel": board.kernel,
        },
        "uptime": status.uptime,
        "load": status.load.iter().map(|load| f64::from(*load) / 100.0).collect::<Vec<_>>(),
        "memory": {"total": status.memory.total, "free": status.memory.free},
        "flash": {"total": status.flash.total, "free": status.flash.free},
        "interfaces": status.interfaces.iter().map(|interface| json!({
            "name": interface.name, "up": interface.is_up, "device": interface.device, "proto": interface.proto,
            "addresses": interface.addresses, "uptime": interface.uptime, "errors": interface.errors,
        })).collect::<Vec<_>>(),
        "radios": status.radios.iter().map(|radio| json!({
            "name": radio.name, "up": radio.is_up, "band": radio.band, "channel": radio.channel,
            "networks": radio.networks,
        })).collect::<Vec<_>>(),
        "clients": status.clients.iter().map(|client| json!({
            "mac": client.mac, "device": client.device, "signal": -i64::from(client.signal),
        })).collect::<Vec<_>>(),
        "leases": status.leases.iter().map(|lease| json!({
            "mac": lease.mac, "address": lease.address, "name": lease.name, "expires": lease.expires,
        })).collect::<Vec<_>>(),
        "results": status.results.iter().map(|result| json!({
            "section": result.section, "outcome": result.outcome,
        })).collect::<Vec<_>>(),
        "remarks": status.remarks,
        "left_out": status.left_out,
    })
}

fn facts() -> anyhow::Result<Value> {
    let facts = with_client(async |client| Ok(device::facts(client, Path::new("/")).await?))?;
    let radios = facts.radios.iter().map(|radio| (radio.section.to_string(), json!(radio.band.to_string())));
    Ok(json!({
        "board": facts.board,
        "mac": facts.mac.map(|mac| mac.to_string()),
        "radios": Value::Object(radios.collect()),
        "ports": facts.ports,
    }))
}

/// Whether a change is being applied or was left unfinished.
fn state(root: &Path) -> anyhow::Result<Value> {
    let is_there = |path: &str| root.join(path.trim_start_matches('/')).exists();
    Ok(json!({
        "applying": is_there(apply::JOURNAL),
        "damaged": is_there(&format!("{}.damaged", apply::JOURNAL)),
        "managed": is_there(apply::GROUND),
    }))
}

fn check(arguments: &Map<String, Value>) -> anyhow::Result<Value> {
    let text = |name: &str| {
        let text = arguments.get(name).and_then(Value::as_str);
        text.with_context(|| format!("the argument {name} is missing: expected a text"))
    };
    let path = text("section")?.parse()?;
    Ok(match Document::parse(&path, text("content")?.as_bytes()) {
        Ok(document) => {
            let runs = document.iter().flat_map(Document::runs_code).map(|runs| json!({
                "line": runs.place.line, "section": runs.place.section, "option": runs.place.option, "what": runs.what,
            }));
            json!({"good": true, "runs_code": runs.collect::<Vec<_>>()})
        }
        Err(error) => json!({
            "good": false, "line": error.place.line, "section": error.place.section, "option": error.place.option,
            "problem": error.problem,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_lists_what_it_can_be_called_with() {
        assert_eq!(list()["check"], json!({"section": "", "content": ""}));
        assert_eq!(list()["version"], json!({}));
    }

    #[test]
    fn what_goes_wrong_is_a_member_of_the_answer() {
        assert_eq!(answer("dance", "{}"), json!({"error": "there is no method \"dance\""}));
        assert!(answer("version", "[]")["error"].as_str().unwrap().contains("no object"));
        assert!(answer("check", "{}")["error"].as_str().unwrap().contains("argument section"));
        let told =
            answer("check", r#"{"section": "groups/ap/config/network", "content": "config interface\n\toption x\n"}"#);
        assert_eq!((&told["good"], &told["line"]), (&json!(true), &Value::Null), "an option without a value is none");
        let told = answer("check", r#"{"section": "groups/ap/config/network", "content": "\nconfig 'x\n"}"#);
        assert_eq!((&told["good"], &told["line"]), (&json!(false), &json!(2)));
    }

    #[test]
    fn the_access_list_names_methods_that_there_are() {
        let acl: Value = serde_json::from_str(include_str!("../../openwrt/files/acl.json")).unwrap();
        let named =
            acl.as_object().unwrap().values().flat_map(|group| group["read"]["ubus"]["dusk"].as_array().unwrap());
        for name in named {
            assert!(METHODS.iter().any(|method| *name == method.name), "{name}");
        }
        let all = acl["dusk"]["read"]["ubus"]["dusk"].as_array().unwrap();
        assert_eq!(all.len(), METHODS.len());
    }
}
