//! `dusk check` and `dusk import`: contents of sections, without a fleet.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use fleet::document::{Document, RunsCode};
use fleet::import::import;
use fleet::{Scope, SectionPath};
use ubus::{Client, Local};
use uci::PackageName;

use super::{Given, print};
use crate::device;

/// `dusk check <section> [file]`.
pub fn check(given: &Given) -> anyhow::Result<ExitCode> {
    let path: SectionPath = given.argument("section").parse()?;
    let mut content = Vec::new();
    match given.optional("file") {
        Some(file) => content = std::fs::read(file).with_context(|| format!("cannot read {file}"))?,
        None => drop(std::io::stdin().read_to_end(&mut content).context("cannot read standard input")?),
    }
    let document = Document::parse(&path, &content)?;
    let document = document.with_context(|| format!("{path} is not about a device's configuration"))?;
    let told = document.runs_code().into_iter().map(|RunsCode { place, what }| {
        format!("{path}{place}: {what} runs code: its author needs the right `execute`\n")
    });
    print(&told.chain([format!("{path}: in order\n")]).collect::<String>())
}

/// `dusk import <scope> [package...]`, on a device.
pub fn import_here(given: &Given) -> anyhow::Result<ExitCode> {
    let scope = given.argument("scope");
    let path: SectionPath = format!("{scope}/x").parse().with_context(|| format!("{scope:?} is no scope"))?;
    let scope: Scope = path.scope();
    let picked = given.many("package");
    let packages: Vec<PackageName> = match picked {
        [] => there()?,
        picked => picked.iter().map(PackageName::new).collect::<Result<_, _>>()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (config, facts) = runtime.block_on(async {
        let client = Client::of_root(Arc::new(Local::new(Local::SOCKET.as_ref())));
        let config = client.read(&packages).await?;
        let facts = device::facts(&client, "/".as_ref()).await?;
        anyhow::Ok((config, facts))
    })?;
    let imported = import(&scope, &config, &facts, |_| true);
    for left_out in &imported.left_out {
        eprintln!("dusk: left out {left_out}");
    }
    ensure!(!imported.contents.is_empty(), "there is nothing to import");
    let mut out = String::new();
    for (path, content) in &imported.contents {
        // Secrets are shown to whoever seals them, not to a terminal.
        if path.rest() == "variables" && !given.has("secrets") {
            let names: Vec<&str> = imported.secrets.keys().map(uci::OptionName::as_str).collect();
            eprintln!("dusk: {path} is to hold secrets: {} (--secrets shows them)", names.join(", "));
            continue;
        }
        out.push_str(&format!("# {path}\n{content}\n"));
    }
    print(&out)
}

/// The packages of this device.
fn there() -> anyhow::Result<Vec<PackageName>> {
    let folder = "/etc/config";
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))?;
    let mut names: Vec<PackageName> =
        entries.filter_map(|entry| PackageName::new(entry.ok()?.file_name().into_string().ok()?).ok()).collect();
    names.sort();
    Ok(names)
}
