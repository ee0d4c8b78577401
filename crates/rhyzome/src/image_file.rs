//! Images' files: taken in under a temporary name, judged, and kept under their digest.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{Image, ImageSpec, ImageStatus, Kind};
use futures_util::{Stream, StreamExt};
use qcow2::{HEADER_BYTES, Header};
use sha2::{Digest, Sha256};
use store::{Caller, Session, StoreError};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use types::{ByteSize, ImageId, Sha256Digest};

use crate::core::Core;
use crate::http::SignedIn;
use crate::idempotency::{self, Answer, Keyed};
use crate::kind;
use crate::pace::Pace;
use crate::refusal::Refusal;
use crate::render::read;

/// After how long a file that several cores can reach and that nobody writes to is not on its way any more.
const FORSAKEN: Duration = Duration::from_secs(60 * 60);
/// What the name of a file ends in that is still on its way in.
const PART: &str = "part";
/// Images looked at in one query.
const SWEEP_PAGE: u32 = 1000;
/// How often it is noted how much of a file has arrived, and asked whether the rest is wanted.
const NOTE: Duration = Duration::from_secs(1);

/// Where the image of that digest lies.
pub fn path(images: &Path, sha256: Sha256Digest) -> PathBuf {
    images.join(format!("{sha256}.qcow2"))
}

/// What became of an image's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// They are the image's file.
    Kept,
    /// The image wants no file, for this reason.
    Unwanted(&'static str),
}

/// What is to arrive.
pub struct Expected<'a> {
    /// The image.
    pub id: ImageId,
    /// The digest of its file.
    pub sha256: Sha256Digest,
    /// The length of its file, if that is known.
    pub length: Option<u64>,
    /// Who sends it with a key, and gets the same answer to the same key.
    pub sender: Option<(&'a SignedIn, &'a Keyed)>,
}

/// Takes the bytes of an image in. Nothing is kept unless the digest is the one that
/// was asked for and the image safe. Several may arrive at once: each has a file of its own until it is judged.
pub async fn receive<S, B, E>(core: &Core, expected: Expected<'_>, mut body: S) -> Result<Arrival, Refusal>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: std::error::Error + Send + Sync + 'static,
{
    if expected.length.is_some_and(|length| length > core.image_limit) {
        return Err(too_large(core));
    }
    if let Some(length) = expected.length {
        let mut session = core.store.read().await?;
        check_quota(core, &mut session, expected.id, length).await?;
    }
    let received = match write_part(core, expected.id, &mut body).await {
        Ok(Written::Whole(part, digest, size)) => keep(core, part, &expected, digest, size).await,
        Ok(Written::Unwanted(reason)) => Ok(Arrival::Unwanted(reason)),
        Err(refusal) => Err(refusal),
    };
    if received.is_err() {
        note(core, expected.id, 0).await?;
    }
    received
}

/// A file on its way in. It is removed unless it is moved to its place.
struct Part {
    path: PathBuf,
}

impl Part {
    async fn create(core: &Core, id: ImageId) -> Result<(Self, File), Refusal> {
        tokio::fs::create_dir_all(&core.images).await.map_err(failed)?;
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(|error| failed(io::Error::other(error)))?;
        let number = data_encoding::HEXLOWER.encode(&number);
        let part = Self { path: core.images.join(format!("{id}-{number}.{PART}")) };
        let file = File::create_new(&part.path).await.map_err(failed)?;
        Ok((part, file))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What was written.
enum Written {
    /// All of it, with this digest and length.
    Whole(Part, Sha256Digest, u64),
    /// Some of it; nobody wants the rest, for this reason.
    Unwanted(&'static str),
}

async fn write_part<S, B, E>(core: &Core, id: ImageId, body: &mut S) -> Result<Written, Refusal>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: std::error::Error + Send + Sync + 'static,
{
    let (part, mut file) = Part::create(core, id).await?;
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    let mut pace = Pace::start(Instant::now());
    let mut noted = Instant::now();
    loop {
        let chunk = tokio::time::timeout_at(pace.deadline(), body.next())
            .await
            .map_err(|_| Refusal::Malformed(format!("the file comes too slowly: {}", Pace::complaint())))?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|error| {
            let error = anyhow::Error::new(error);
            Refusal::Malformed(format!("the file broke off after {size} bytes: {error:#}"))
        })?;
        let chunk = chunk.as_ref();
        size += chunk.len() as u64;
        if size > core.image_limit {
            return Err(too_large(core));
        }
        hash.update(chunk);
        file.write_all(chunk).await.map_err(failed)?;
        let now = Instant::now();
        pace.passed(chunk.len(), now);
        if now.duration_since(noted) >= NOTE {
            noted = now;
            if let Some(reason) = note(core, id, size).await? {
                return Ok(Written::Unwanted(reason));
            }
        }
    }
    file.sync_all().await.map_err(failed)?;
    Ok(Written::Whole(part, Sha256Digest::from_bytes(hash.finalize().into()), size))
}

/// Notes how much has arrived; answers why no more of it is wanted.
async fn note(core: &Core, id: ImageId, received: u64) -> Result<Option<&'static str>, Refusal> {
    let status = serde_json::to_value(ImageStatus { received, ..ImageStatus::default() })?;
    store::transact_in_background!(core.store, async |session| -> Result<Option<&'static str>, Refusal> {
        let unwanted = unwanted(session, id).await?;
        if unwanted.is_none() {
            session.set_status(&Caller::core(), id.into(), &status).await?;
        }
        Ok(unwanted)
    })
    .await
}

/// Why an image wants no file.
async fn unwanted<Mode>(session: &mut Session<'_, Mode>, id: ImageId) -> Result<Option<&'static str>, StoreError> {
    let row = match session.resource(&Caller::core(), id.into()).await {
        Err(StoreError::NotFound { .. }) => return Ok(Some("the image is gone")),
        row => row?,
    };
    let status: ImageStatus = read("status.body", row.status)?;
    Ok(match row.state.as_str() {
        "creating" if status.virtual_size.is_some() => Some("the image has its file already"),
        "creating" => None,
        "ready" | "updating" => Some("the image has its file already"),
        "failed" => Some("the image has failed: delete it, and make it again"),
        _ => Some("the image is being deleted"),
    })
}

async fn keep(
    core: &Core,
    part: Part,
    expected: &Expected<'_>,
    found: Sha256Digest,
    size: u64,
) -> Result<Arrival, Refusal> {
    let (id, wanted) = (expected.id, expected.sha256);
    if found != wanted {
        return Err(Refusal::fault("/spec/sha256", format!("the file's SHA-256 is {found}, expected {wanted}")));
    }
    let mut start = Vec::new();
    let mut file = File::open(&part.path).await.map_err(failed)?.take(HEADER_BYTES as u64);
    file.read_to_end(&mut start).await.map_err(failed)?;
    let header =
        Header::read_of(&start, size).map_err(|error| Refusal::fault("", format!("the image is refused: {error}")))?;
    let sized = |bytes: u64| {
        i64::try_from(bytes)
            .ok()
            .and_then(|bytes| ByteSize::try_from(bytes).ok())
            .ok_or_else(|| Refusal::fault("", "the image is refused: its size is out of bounds"))
    };
    let (file_size, virtual_size) = (sized(size)?, sized(header.virtual_size)?);
    let status = ImageStatus { file_size: Some(file_size), virtual_size: Some(virtual_size), received: size };
    let status = serde_json::to_value(&status)?;
    let turn = core.image_files.lock().await;
    // The file first: what the database says is there is there, whenever power fails.
    tokio::fs::rename(&part.path, path(&core.images, wanted)).await.map_err(failed)?;
    File::open(&core.images).await.map_err(failed)?.sync_all().await.map_err(failed)?;
    let unwanted = store::transact!(core.store, async |session| -> Result<Option<&'static str>, Refusal> {
        let unwanted = unwanted(session, id).await?;
        if unwanted.is_some() {
            return Ok(unwanted);
        }
        check_quota(core, session, id, size).await?;
        session.set_status(&Caller::core(), id.into(), &status).await?;
        if let Some((who, keyed)) = expected.sender {
            let row = session.resource(&who.caller, id.into()).await?;
            let image: Image = kind::present(session, row).await?;
            idempotency::keep(session, who, Some(keyed), &Answer::done(&image)?).await?;
        }
        Ok(None)
    })
    .await;
    drop(turn);
    if !matches!(unwanted, Ok(None)) {
        sweep(core, false).await.map_err(Refusal::Internal)?;
    }
    if let Some(reason) = unwanted? {
        return Ok(Arrival::Unwanted(reason));
    }
    core.signals.look_again();
    Ok(Arrival::Kept)
}

/// Refuses a file of that size for which the image's tenant has no room left.
async fn check_quota<Mode>(
    core: &Core,
    session: &mut Session<'_, Mode>,
    id: ImageId,
    size: u64,
) -> Result<(), Refusal> {
    let Some(quota) = core.image_quota else { return Ok(()) };
    let tenant = match session.tenant_of(&Caller::core(), id.into()).await {
        // Nobody waits for it any more, which is said elsewhere.
        Err(StoreError::NotFound { .. }) => return Ok(()),
        tenant => tenant?,
    };
    let (caller, mut held, mut after) = (Caller::core_for(tenant), 0_u64, None);
    loop {
        let rows = session.resources(&caller, Image::NOUN, after, SWEEP_PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id);
        for row in rows {
            let status: ImageStatus = read("status.body", row.status)?;
            held = held.saturating_add(status.file_size.map_or(0, |bytes| bytes.get()));
        }
    }
    match held.saturating_add(size) > quota {
        true => Err(Refusal::Exhausted(format!(
            "the image's file has {size} bytes, and the tenant's images have {held} of {quota} already: delete some"
        ))),
        false => Ok(()),
    }
}

fn too_large(core: &Core) -> Refusal {
    Refusal::TooLarge(format!("an image's file may have {} bytes at most", core.image_limit))
}

/// Removes the files whose image is gone. Files on their way in are left alone, unless none can be: when the only core
/// starts.
pub async fn sweep(core: &Core, at_start: bool) -> anyhow::Result<()> {
    let _turn = core.image_files.lock().await;
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
            let status: ImageStatus = read("status.body", row.status)?;
            // An image that never got its file holds none that another brought, unless that is just arriving.
            if status.virtual_size.is_some() || row.state == "creating" {
                let spec: ImageSpec = read("resource.spec", row.spec)?;
                needed.insert(path(&core.images, spec.sha256));
            }
        }
    }
    while let Some(entry) = entries.next_entry().await? {
        let file = entry.path();
        let arriving = file.extension().is_some_and(|extension| extension == PART)
            && match core.store.is_shared() {
                // Another core may be writing it.
                true => entry.metadata().await?.modified()?.elapsed().is_ok_and(|age| age < FORSAKEN),
                false => !at_start,
            };
        if !arriving && !needed.contains(&file) {
            tokio::fs::remove_file(&file).await?;
            tracing::info!(file = %file.display(), "an image's file was removed");
        }
    }
    Ok(())
}

fn failed(error: io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::StorageFull {
        return Refusal::Exhausted("the server has no space left for images".to_owned());
    }
    Refusal::Internal(anyhow::Error::new(error).context("an image's file could not be written"))
}
