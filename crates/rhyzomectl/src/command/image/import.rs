//! `rhyzomectl image import`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use api::{Accepted, ClientError, Image, ImageCreate, ImageSpec, Reference, State};
use clap::Args;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;
use types::{ImageId, ResourceName, Sha256Digest};

use crate::command::resource::{self, NewTags, Wait};
use crate::failure::WrongUsage;
use crate::output::say;
use crate::session::Session;
use crate::transfer::Transfer;
use crate::view::{Names, facts};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// An image made of a file, which is sent, or of a URL, which the server fetches. Where the image is there already with
/// the same content, nothing is sent again.
#[derive(Args, Debug)]
#[command(allow_missing_positional = true)]
pub struct Import {
    /// The image's name [the file's]
    name: Option<ResourceName>,
    /// A qcow2 file, or a URL (https)
    #[arg(value_name = "FILE|URL", required = true)]
    source: String,
    #[arg(long = "name", value_name = "NAME", hide = true, conflicts_with = "name")]
    option_name: Option<ResourceName>,
    /// The SHA-256 of the file: checked for a file, needed for a URL
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<Sha256Digest>,
    #[command(flatten)]
    tags: NewTags,
    #[command(flatten)]
    wait: Wait,
}

impl Import {
    /// The import of a file.
    pub fn of_file(name: ResourceName, file: &Path, wait: Wait) -> Self {
        Self {
            name: Some(name),
            source: file.display().to_string(),
            option_name: None,
            sha256: None,
            tags: NewTags::default(),
            wait,
        }
    }

    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        let name = self.name()?;
        let (sha256, url, file) = match self.source.contains("://") {
            true => {
                let sha256 = self.sha256.ok_or_else(|| WrongUsage("an image from a URL needs --sha256".to_owned()))?;
                (sha256, Some(self.source), None)
            }
            false => {
                let file = PathBuf::from(&self.source);
                let (sha256, length) = digest(&file).await?;
                if let Some(wanted) = self.sha256.filter(|wanted| *wanted != sha256) {
                    bail!("{} has the SHA-256 {sha256}, not {wanted}", file.display());
                }
                (sha256, None, Some((file, length)))
            }
        };
        let before = existing(session, &name, sha256).await?;
        if let Some(image) = before.as_ref().filter(|image| image.state == State::Ready) {
            say(&format!("image {name} is there already"));
            return session.format.one(image, || facts(image, &Names::default()));
        }
        let accepted = match before {
            Some(image) => Upload::Again(Box::new(image)),
            None => {
                let spec = ImageSpec { sha256, url };
                let body = ImageCreate { name: name.clone(), tags: self.tags.tags(), spec };
                let accepted = session.client.create::<Image>(&body).await;
                Upload::First(Box::new(accepted.with_context(|| format!("image {name}"))?))
            }
        };
        if let Some((file, length)) = file {
            send(session, accepted.image(), &file, length).await.with_context(|| {
                format!("image {name} waits for its file (repeat the import, or `rhyzomectl image delete {name}`)")
            })?;
        }
        match accepted {
            Upload::First(accepted) => resource::accepted_now(session, *accepted, self.wait).await,
            Upload::Again(image) => resource::get::<Image>(session, &Reference::Id(image.id)).await,
        }
    }

    /// The name that was given, or the source's last part without what follows its first dot.
    fn name(&self) -> anyhow::Result<ResourceName> {
        if let Some(name) = self.name.as_ref().or(self.option_name.as_ref()) {
            return Ok(name.clone());
        }
        let last = self.source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let stem = last.split('.').next().unwrap_or_default().to_lowercase().replace('_', "-");
        Ok(stem.parse().map_err(|_| WrongUsage(format!("{last:?} makes no name: give one before it")))?)
    }
}

/// The image that is to be filled.
enum Upload {
    /// It was just asked for.
    First(Box<Accepted<Image>>),
    /// It was asked for before, and its file never came.
    Again(Box<Image>),
}

impl Upload {
    fn image(&self) -> ImageId {
        match self {
            Self::First(accepted) => accepted.resource.id,
            Self::Again(image) => image.id,
        }
    }
}

/// The image of that name, which must have that content.
async fn existing(session: &Session, name: &ResourceName, sha256: Sha256Digest) -> anyhow::Result<Option<Image>> {
    let image: Image = match session.client.get(&Reference::Name(name.clone())).await {
        Err(ClientError::Problem(problem)) if problem.status == 404 => return Ok(None),
        result => result.with_context(|| format!("image {name}"))?,
    };
    match (image.spec.sha256 == sha256, image.state) {
        (true, State::Creating | State::Ready | State::Updating) => Ok(Some(image)),
        (true, State::Failed) => {
            let condition = image.conditions.iter().find(|condition| condition.name == "applied" && !condition.holds);
            let reason = condition.and_then(|condition| condition.reason.as_deref()).unwrap_or("no reason is known");
            bail!("image {name} has failed ({reason}): `rhyzomectl image delete {name}` makes room for another try")
        }
        (true, State::Deleting) => bail!("image {name} is being deleted: wait for that, or take another name"),
        (false, _) => bail!("image {name} is there with another content (SHA-256 {})", image.spec.sha256),
    }
}

/// The file's digest and length.
async fn digest(file: &Path) -> anyhow::Result<(Sha256Digest, u64)> {
    let path = file.to_owned();
    let digest = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let metadata = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        if !metadata.is_file() || metadata.len() == 0 {
            bail!("{} is no file, or an empty one", path.display());
        }
        let transfer = Transfer::start(format!("reading {}", path.display()), metadata.len());
        let (mut digest, mut length, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
        loop {
            let count = file.read(&mut chunk).with_context(|| format!("cannot read {}", path.display()))?;
            if count == 0 {
                return Ok((Sha256Digest::from_bytes(digest.finalize().into()), length));
            }
            digest.update(&chunk[..count]);
            length += count as u64;
            transfer.passed(count);
        }
    });
    digest.await.context("reading the file was broken off")?
}

async fn send(session: &Session, image: ImageId, file: &Path, length: u64) -> anyhow::Result<()> {
    let opened = tokio::fs::File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let transfer = Arc::new(Transfer::start(format!("sending {}", file.display()), length));
    let body = ReaderStream::with_capacity(opened, CHUNK).map(move |chunk| {
        let chunk = chunk?.to_vec();
        transfer.passed(chunk.len());
        Ok(chunk)
    });
    session.client.upload(image, length, body).await?;
    Ok(())
}
