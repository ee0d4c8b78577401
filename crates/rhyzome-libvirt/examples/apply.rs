//! Brings objects of this host to desired states without a core: `apply CONFIG IMAGE STATES`.
//!
//! CONFIG is a `rhyzome-libvirt.json`, IMAGE the one file that images come from, STATES a file with a JSON array of
//! `{"object": "instance/ins-…", "version": "1:1", "desired": {…}}`, without `desired` for an object that is to go.
//! Prints a line per object: what became of it and how many milliseconds it took.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use async_trait::async_trait;
use jobs::{Context, ImageSource, Job, Target, Want};
use rhyzome_libvirt::configuration::Configuration;
use rhyzome_libvirt::hypervisor::Hypervisor;
use serde::Deserialize;
use tokio::io::AsyncWrite;
use types::Sha256Digest;

#[derive(Deserialize)]
struct State {
    object: String,
    version: String,
    desired: Option<serde_json::Value>,
}

struct File(PathBuf);

#[async_trait]
impl ImageSource for File {
    async fn fetch(&self, _: Sha256Digest, sink: &mut (dyn AsyncWrite + Send + Unpin)) -> anyhow::Result<()> {
        tokio::io::copy(&mut tokio::fs::File::open(&self.0).await?, sink).await?;
        Ok(())
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    let [configuration, image, states] = arguments.as_slice() else {
        anyhow::bail!("usage: apply CONFIG IMAGE STATES")
    };
    let configuration = config::load::<Configuration>(Some(configuration), "")?.value;
    let states: Vec<State> = config::parse(&config::file::read(states)?, Path::new(states))?;
    let target = Hypervisor::open(&configuration)?;
    let context = Context { images: Arc::new(File(image.clone())) };
    for state in states {
        let want = state.desired.map_or(Want::Gone, |desired| Want::Desired(desired.to_string()));
        let (object, version) = (state.object.parse()?, state.version.parse()?);
        let began = Instant::now();
        let reports = target.apply(vec![Job { object, version, requires: Vec::new(), want }], &context).await;
        let report = reports.first().context("a report comes for every job")?;
        let reason = report.reason.as_deref().unwrap_or_default();
        println!("{object} {:?} {} ms {reason}", report.outcome, began.elapsed().as_millis());
    }
    Ok(())
}
