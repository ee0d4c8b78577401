//! Builds the tiny image into the folder that is named and prints where it lies.
#![allow(missing_docs, dead_code)]

#[path = "../../rhyzomectl/src"]
mod rhyzomectl {
    pub mod tiny_image;
}

use rhyzomectl::tiny_image::{BuildOptions, build};

fn main() -> anyhow::Result<()> {
    let cache_dir = std::env::args_os().nth(1).map(Into::into).unwrap_or_default();
    let image = build(&BuildOptions { cache_dir }, &mut |stage| eprintln!("{stage}"))?;
    println!("{}", image.display());
    Ok(())
}
