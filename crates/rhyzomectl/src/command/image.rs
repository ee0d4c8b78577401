//! `rhyzomectl image`.

mod build;
mod import;

use anyhow::Context;
use api::{Image, ImageCreate, ImageSpec, Reference};
use clap::{Args, Subcommand};
use serde_json::Map;
use types::{ImageId, ResourceName, Sha256Digest};

use super::resource::{self, Deletion, Listing, NewTags, Renewal, Wait};
use crate::session::Session;

type Which = Reference<ImageId>;

/// What can be done with images.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make an image of a file or a URL
    Import(import::Import),
    /// Make a file that can be imported
    #[command(subcommand)]
    Build(build::Build),
    /// Make an image that the server fetches
    Create(Create),
    /// List images
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Show an image
    #[command(visible_alias = "show")]
    Get {
        /// Name or id
        image: Which,
    },
    /// Change an image's name or tags
    Update {
        /// Name or id
        image: Which,
        #[command(flatten)]
        renewal: Renewal,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete images
    #[command(visible_alias = "rm")]
    Delete {
        /// Names or ids
        #[arg(required = true)]
        images: Vec<Which>,
        #[command(flatten)]
        deletion: Deletion,
    },
}

/// An image that the server fetches.
#[derive(Args, Debug)]
pub struct Create {
    /// Its name
    name: ResourceName,
    /// Where the server gets the file, a qcow2 (https)
    #[arg(long)]
    url: String,
    /// The SHA-256 of the file
    #[arg(long, value_name = "DIGEST")]
    sha256: Sha256Digest,
    #[command(flatten)]
    tags: NewTags,
    #[command(flatten)]
    wait: Wait,
}

impl Command {
    /// Does it. Not all of it needs a server.
    pub async fn run(self, session: impl FnOnce() -> anyhow::Result<Session>) -> anyhow::Result<()> {
        match self {
            Self::Import(import) => import.run(&session()?).await,
            Self::Build(build) => build.run(session).await,
            Self::Create(create) => create.run(&session()?).await,
            Self::List(listing) => resource::list::<Image>(&session()?, &listing, &[]).await,
            Self::Get { image } => resource::get::<Image>(&session()?, &image).await,
            Self::Update { image, renewal, wait } => {
                resource::update::<Image>(&session()?, &image, &renewal.patch(Map::new())?, wait).await
            }
            Self::Delete { images, deletion } => {
                resource::delete::<Image>(&session()?, &images, &deletion).await?;
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let context = format!("image {}", self.name);
        let spec = ImageSpec { sha256: self.sha256, url: Some(self.url) };
        let body = ImageCreate { name: self.name, tags: self.tags.tags(), spec };
        let accepted = session.client.create::<Image>(&body).await.context(context)?;
        resource::accepted_now(session, accepted, self.wait).await
    }
}
