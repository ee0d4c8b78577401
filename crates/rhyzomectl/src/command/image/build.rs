//! `rhyzomectl image build`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::home::Home;
use crate::output::{print, say};
use crate::tiny_image::{self, BuildOptions};

/// Which image to build.
#[derive(Subcommand, Debug)]
pub enum Build {
    /// A small guest out of Debian packages: kernel, busybox, SSH; its file's path is printed
    Tiny(Tiny),
}

/// The tiny image.
#[derive(Args, Debug)]
pub struct Tiny {
    /// Where to put it [the user's cache]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Build {
    /// Builds it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Tiny(tiny) => {
                let build = tokio::task::spawn_blocking(|| tiny.build());
                let file = build.await.context("building was broken off")??;
                print(&format!("{}\n", file.display()))
            }
        }
    }
}

impl Tiny {
    fn build(self) -> anyhow::Result<PathBuf> {
        let options = BuildOptions { cache_dir: Home::of_user()?.cache_directory().to_owned() };
        let built = tiny_image::build(&options, &mut |step| say(step))?;
        match self.output {
            None => Ok(built),
            Some(output) => copy(&built, &output).map(|()| output),
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
