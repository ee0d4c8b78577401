//! Images' files: taken in under a temporary name, judged, and kept under their digest.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use api::{Image, ImageSpec, ImageStatus, Kind};
use futures_util::{Stream, StreamExt};
use qcow2::{HEADER_BYTES, Header};
use sha2::{Digest, Sha256};
use store::Caller;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use types::{ByteSize, ImageId, Sha256Digest};

use crate::core::Core;
use crate::refusal::Refusal;
use crate::render::read;

/// What the name of a file ends in that is still on its way in.
const PART: &str = "part";
/// Images looked at in one query.
const SWEEP_PAGE: u32 = 1000;

/// Where the image of that digest lies.
pub fn path(images: &Path, sha256: Sha256Digest) -> PathBuf {
    images.join(format!("{sha256}.qcow2"))
}

/// Takes the bytes of an image in. Nothing is kept unless the digest is the one that was asked for and the image safe.
pub async fn receive<S, B, E>(core: &Core, id: ImageId, sha256: Sha256Digest, mut body: S) -> Result<(), Refusal>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: std::error::Error + Send + Sync + 'static,
{
    let part = core.images.join(format!("{id}.{PART}"));
    let received = write_part(core, &part, &mut body).await;
    let kept = match received {
        Ok((digest, size)) => keep(core, &part, id, sha256, digest, size).await,
        Err(refusal) => Err(refusal),
    };
    if kept.is_err() {
        let _ = tokio::fs::remove_file(&part).await;
    }
    kept
}

async fn write_part<S, B, E>(core: &Core, part: &Path, body: &mut S) -> Result<(Sha256Digest, u64), Refusal>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: std::error::Error + Send + Sync + 'static,
{
    tokio::fs::create_dir_all(&core.images).await.map_err(failed)?;
    let mut file = File::create(part).await.map_err(failed)?;
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Refusal::Malformed(format!("the file broke off: {error}")))?;
        let chunk = chunk.as_ref();
        size += chunk.len() as u64;
        if size > core.image_limit {
            return Err(Refusal::TooLarge(format!("an image may have {} bytes at most", core.image_limit)));
        }
        hash.update(chunk);
        file.write_all(chunk).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)?;
    Ok((Sha256Digest::from_bytes(hash.finalize().into()), size))
}

async fn keep(
    core: &Core,
    part: &Path,
    id: ImageId,
    wanted: Sha256Digest,
    found: Sha256Digest,
    size: u64,
) -> Result<(), Refusal> {
    if found != wanted {
        return Err(Refusal::fault("/spec/sha256", format!("the file's SHA-256 is {found}, expected {wanted}")));
    }
    let mut start = Vec::new();
    File::open(part).await.map_err(failed)?.take(HEADER_BYTES as u64).read_to_end(&mut start).await.map_err(failed)?;
    let header = Header::read(&start).map_err(|error| Refusal::fault("", format!("the image is refused: {error}")))?;
    let sized = |bytes: u64| {
        i64::try_from(bytes)
            .ok()
            .and_then(|bytes| ByteSize::try_from(bytes).ok())
            .ok_or_else(|| Refusal::fault("", "the image is refused: its size is out of bounds"))
    };
    let (file_size, virtual_size) = (sized(size)?, sized(header.virtual_size)?);
    tokio::fs::rename(part, path(&core.images, wanted)).await.map_err(failed)?;
    File::open(&core.images).await.map_err(failed)?.sync_all().await.map_err(failed)?;
    let caller = Caller::core();
    let mut session = core.store.write().await?;
    let status = ImageStatus { file_size: Some(file_size), virtual_size: Some(virtual_size), received: size };
    session.set_status(&caller, id.into(), &serde_json::to_value(&status)?).await?;
    session.commit().await?;
    core.signals.look_again();
    Ok(())
}

/// Removes the files whose image is gone. Files on their way in are left alone, unless none can be: at start.
pub async fn sweep(core: &Core, at_start: bool) -> anyhow::Result<()> {
    let mut entries = match tokio::fs::read_dir(&core.images).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut needed = BTreeSet::new();
    let mut session = core.store.read().await?;
    let mut after = None;
    loop {
        let rows = session.resources(&Caller::core(), Image::NOUN, after, SWEEP_PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id);
        for row in rows {
            let spec: ImageSpec = read("resource.spec", row.spec)?;
            needed.insert(path(&core.images, spec.sha256));
        }
    }
    while let Some(entry) = entries.next_entry().await? {
        let file = entry.path();
        let arriving = file.extension().is_some_and(|extension| extension == PART) && !at_start;
        if !arriving && !needed.contains(&file) {
            tokio::fs::remove_file(&file).await?;
            tracing::info!(file = %file.display(), "an image's file was removed");
        }
    }
    Ok(())
}

fn failed(error: io::Error) -> Refusal {
    Refusal::Internal(anyhow::Error::new(error).context("an image's file could not be written"))
}
