//! `rhyzomectl image build`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use image::debian::{self, Mirror, Release, Reuse};
use image::tiny;
use types::ResourceName;

use super::import::Import;
use crate::command::resource::Wait;
use crate::home::Home;
use crate::output::print;
use crate::session::Session;
use crate::stage::Stages;

/// Which image to build.
#[derive(Subcommand, Debug)]
pub enum Build {
    /// A small guest out of Debian packages: kernel, busybox, SSH; its file's path is printed
    Tiny(Output),
    /// Debian 12 with cloud-init; its file's path is printed
    #[command(name = "debian-12")]
    Debian12(Debian),
    /// Debian 13 with cloud-init; its file's path is printed
    #[command(name = "debian-13")]
    Debian13(Debian),
}

/// What becomes of the file.
#[derive(Args, Debug)]
pub struct Output {
    /// Where to put it [the user's cache]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Import it as the image of this name, too
    #[arg(long)]
    name: Option<ResourceName>,
    #[command(flatten)]
    wait: Wait,
}

/// A Debian image. It is built of Debian's packages by mmdebstrap, as root or by anybody who has subordinate user ids.
#[derive(Args, Debug)]
pub struct Debian {
    #[command(flatten)]
    output: Output,
    /// Where packages come from [where this machine's own come from]
    #[arg(long, value_name = "URL")]
    mirror: Option<Mirror>,
    /// Build again what was built before, for newer packages
    #[arg(long)]
    fresh: bool,
}

impl Build {
    /// Builds it.
    pub async fn run(self, session: impl FnOnce() -> anyhow::Result<Session>) -> anyhow::Result<()> {
        match self {
            Self::Tiny(output) => output.take(session, build_tiny).await,
            Self::Debian12(debian) => debian.build(session, Release::Bookworm).await,
            Self::Debian13(debian) => debian.build(session, Release::Trixie).await,
        }
    }
}

impl Debian {
    async fn build(self, session: impl FnOnce() -> anyhow::Result<Session>, release: Release) -> anyhow::Result<()> {
        let reuse = if self.fresh { Reuse::Nothing } else { Reuse::Finished };
        let mirror = self.mirror;
        let build = move |cache_dir, progress: &mut dyn FnMut(&str)| {
            debian::build(&debian::BuildOptions { cache_dir, release, mirror, reuse }, progress)
        };
        self.output.take(session, build).await
    }
}

fn build_tiny(cache_dir: PathBuf, progress: &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> {
    tiny::build(&tiny::BuildOptions { cache_dir }, progress)
}

impl Output {
    /// Builds, and puts the file where it is wanted.
    async fn take<B>(self, session: impl FnOnce() -> anyhow::Result<Session>, build: B) -> anyhow::Result<()>
    where
        B: FnOnce(PathBuf, &mut dyn FnMut(&str)) -> anyhow::Result<PathBuf> + Send + 'static,
    {
        // Before minutes of work, and not after it, is the time to learn that there is no server.
        let session = self.name.is_some().then(session).transpose()?;
        let output = self.output;
        let work = tokio::task::spawn_blocking(move || {
            let cache_dir = Home::of_user()?.cache_directory().to_owned();
            let mut stages = Stages::start();
            let built = build(cache_dir, &mut |stage| stages.enter(stage))?;
            match output {
                None => Ok(built),
                Some(output) => copy(&built, &output).map(|()| output),
            }
        });
        let file: anyhow::Result<PathBuf> = work.await.context("building was broken off")?;
        let file = file?;
        match self.name.zip(session) {
            Some((name, session)) => Import::of_file(name, &file, self.wait).run(&session).await,
            None => print(&format!("{}\n", file.display())),
        }
    }
}

/// Copies a file beside its place and moves it there, so that there is never half of one.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut beside = to.as_os_str().to_owned();
    beside.push(".new");
    fs::copy(from, &beside)
        .and_then(|_| fs::rename(&beside, to))
        .with_context(|| format!("cannot write {}", to.display()))
}
