//! The cache of images: one read-only file per digest, checked before any other program opens it.

mod inspection;

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll};

use anyhow::{Context, anyhow};
use jobs::desired::{Image, ImageContent};
use jobs::{Held, ImageSource, Object};
use qcow2::{HEADER_BYTES, Header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use types::{ImageId, Sha256Digest, Version};

use self::inspection::Verdict;
use crate::failure::Failure;
use crate::instance::record::Record;
use crate::mark::Mark;
use crate::storage::{Storage, is_file, read_json, write_json};

/// All images of this host.
pub struct ImageCache {
    storage: Storage,
    /// Whoever fetches or removes a digest holds its lock.
    locks: Mutex<HashMap<Sha256Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// What is known of an image, beside the file that it shares with others of the same digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageRecord {
    sha256: Sha256Digest,
    version: Version,
}

impl ImageCache {
    /// The cache in `storage`. What an earlier run did not finish is removed.
    pub fn open(storage: &Storage) -> anyhow::Result<Self> {
        let dir = storage.images();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(Self { storage: storage.clone(), locks: Mutex::default() })
    }

    /// Keeps an image for as long as its object lives.
    pub async fn keep(&self, image: &Image, version: Version, source: &dyn ImageSource) -> Result<(), Failure> {
        let path = self.storage.image_record(image.id);
        let before: Option<ImageRecord> = read_json(&path)?;
        // Written before the file is fetched, so that whatever is interrupted can be found and removed.
        write_json(&path, &ImageRecord { sha256: image.content.sha256, version: Mark::UNFINISHED })?;
        self.ensure(&image.content, source).await?;
        write_json(&path, &ImageRecord { sha256: image.content.sha256, version })?;
        if let Some(before) = before.filter(|before| before.sha256 != image.content.sha256) {
            self.release(before.sha256).await?;
        }
        Ok(())
    }

    /// Forgets an image, and its file when nobody else holds the digest.
    pub async fn forget(&self, id: ImageId) -> Result<(), Failure> {
        let path = self.storage.image_record(id);
        let Some(record) = read_json::<ImageRecord>(&path)? else { return Ok(()) };
        config::file::remove(&path).map_err(anyhow::Error::from)?;
        self.release(record.sha256).await
    }

    /// Fetches the file of `content` unless it is there. Whoever asks has written down that it holds the digest.
    pub async fn ensure(&self, content: &ImageContent, source: &dyn ImageSource) -> Result<(), Failure> {
        let _guard = self.lock(content.sha256).lock_owned().await;
        let file = self.storage.image(content.sha256);
        if !is_file(&file)? {
            fetch(content, source, &file).await?;
        }
        Ok(())
    }

    /// Removes the file of a digest that nobody holds.
    pub async fn release(&self, digest: Sha256Digest) -> Result<(), Failure> {
        let _guard = self.lock(digest).lock_owned().await;
        if !self.is_held(digest)? {
            config::file::remove(&self.storage.image(digest)).map_err(anyhow::Error::from)?;
            tracing::info!(%digest, "removed an image that nobody uses");
        }
        Ok(())
    }

    /// The images that are kept.
    pub fn held(&self) -> anyhow::Result<Vec<Held>> {
        let mut held = Vec::new();
        for id in self.storage.image_ids()? {
            if let Some(record) = read_json::<ImageRecord>(&self.storage.image_record(id))? {
                let complete = is_file(&self.storage.image(record.sha256))?;
                let version = if complete { record.version } else { Mark::UNFINISHED };
                held.push(Held { object: Object::Image(id), version });
            }
        }
        Ok(held)
    }

    fn is_held(&self, digest: Sha256Digest) -> anyhow::Result<bool> {
        for id in self.storage.image_ids()? {
            let record: Option<ImageRecord> = read_json(&self.storage.image_record(id))?;
            if record.is_some_and(|record| record.sha256 == digest) {
                return Ok(true);
            }
        }
        for id in self.storage.instance_ids()? {
            let record = Record::read(&self.storage.instance(id))?;
            if record.is_some_and(|record| record.image == digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lock(&self, digest: Sha256Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(digest).or_default().clone()
    }
}

/// Fetches into a file beside the place, checks it, and moves it there.
async fn fetch(content: &ImageContent, source: &dyn ImageSource, place: &Path) -> Result<(), Failure> {
    let part = place.with_extension("part");
    // What lies there is removed and not written to: it may be a link to elsewhere.
    config::file::remove(&part).map_err(anyhow::Error::from)?;
    let file = tokio::fs::OpenOptions::new().write(true).create_new(true).open(&part).await;
    let file = file.with_context(|| format!("cannot make {}", part.display()))?;
    let mut sink = Checked { file, digest: Sha256::new(), left: content.file_size.get() };
    let checked = match source.fetch(content.sha256, &mut sink).await {
        Ok(()) => check(sink, content, &part).await,
        Err(error) => Err(error.context(format!("cannot fetch image {}", content.sha256)).into()),
    };
    if let Err(failure) = checked {
        // A file that is not moved is removed at the next start at the latest.
        let _ = fs::remove_file(&part);
        return Err(failure);
    }
    fs::rename(&part, place).with_context(|| format!("cannot put the image at {}", place.display()))?;
    Ok(())
}

async fn check(mut sink: Checked, content: &ImageContent, part: &Path) -> Result<(), Failure> {
    sink.flush().await.and(sink.file.sync_all().await).with_context(|| format!("cannot write {}", part.display()))?;
    let digest = Sha256Digest::from_bytes(sink.digest.finalize().into());
    if sink.left != 0 || digest != content.sha256 {
        let size = content.file_size.get() - sink.left;
        return Err(anyhow!("the image came as {size} bytes with digest {digest}, not as {content:?}").into());
    }
    let mut start = Vec::new();
    File::open(part)
        .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut start))
        .with_context(|| format!("cannot read {}", part.display()))?;
    let refuse = |reason: String| Failure::Refused(format!("image {digest} is refused: {reason}"));
    let header = Header::read_of(&start, content.file_size.get()).map_err(|error| refuse(error.to_string()))?;
    if header.virtual_size != content.virtual_size.get() {
        return Err(refuse(format!("its disk has {} bytes, not {}", header.virtual_size, content.virtual_size)));
    }
    fs::set_permissions(part, Permissions::from_mode(0o444)).context("cannot make the image read-only")?;
    if let Verdict::Damaged(reason) = inspection::inspect(part).await? {
        return Err(refuse(reason));
    }
    Ok(())
}

/// A file that is digested while it is written and takes no more than it was promised.
struct Checked {
    file: tokio::fs::File,
    digest: Sha256,
    left: u64,
}

impl AsyncWrite for Checked {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, "the image is longer than was said")));
        }
        let written = std::task::ready!(Pin::new(&mut self.file).poll_write(task, bytes))?;
        self.digest.update(&bytes[..written]);
        self.left -= written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives the same bytes for every digest, and counts how often.
    struct Bytes(Vec<u8>, AtomicUsize);

    #[async_trait::async_trait]
    impl ImageSource for Bytes {
        async fn fetch(&self, _: Sha256Digest, sink: &mut (dyn AsyncWrite + Send + Unpin)) -> anyhow::Result<()> {
            self.1.fetch_add(1, Ordering::Relaxed);
            sink.write_all(&self.0).await.map_err(Into::into)
        }
    }

    fn image() -> (Bytes, ImageContent) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.qcow2");
        let mut make = std::process::Command::new("qemu-img");
        make.args(["create", "-q", "-f", "qcow2"]).arg(&path).arg("64M");
        assert!(make.status().unwrap().success(), "these tests need qemu-img (qemu-utils)");
        described(fs::read(path).unwrap())
    }

    fn described(bytes: Vec<u8>) -> (Bytes, ImageContent) {
        let content = ImageContent {
            sha256: Sha256Digest::from_bytes(Sha256::digest(&bytes).into()),
            file_size: (bytes.len() as i64).try_into().unwrap(),
            virtual_size: (64 << 20).try_into().unwrap(),
        };
        (Bytes(bytes, AtomicUsize::new(0)), content)
    }

    fn cache() -> (tempfile::TempDir, ImageCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = ImageCache::open(&Storage::open(dir.path()).unwrap()).unwrap();
        (dir, cache)
    }

    fn files(cache: &ImageCache) -> usize {
        fs::read_dir(cache.storage.images()).unwrap().count()
    }

    #[tokio::test]
    async fn a_digest_is_fetched_once_and_stays_until_its_last_holder_goes() {
        let (_dir, cache) = cache();
        let (source, content) = image();
        let version: Version = "1:4".parse().unwrap();
        let [first, second] = [1, 2].map(|bits| Image { id: ImageId::from_bits(bits), content: content.clone() });
        cache.keep(&first, version, &source).await.unwrap();
        cache.keep(&second, version, &source).await.unwrap();
        assert_eq!(source.1.load(Ordering::Relaxed), 1);
        let mode = fs::metadata(cache.storage.image(content.sha256)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(cache.held().unwrap().len(), 2);
        assert!(cache.held().unwrap().iter().all(|held| held.version == version));
        cache.forget(first.id).await.unwrap();
        assert!(cache.storage.image(content.sha256).exists());
        cache.forget(second.id).await.unwrap();
        assert_eq!(files(&cache), 0);
        cache.forget(second.id).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_what_was_promised_is_not_kept() {
        let (_dir, cache) = cache();
        let (source, content) = image();
        let longer = ImageContent { file_size: 4097.try_into().unwrap(), ..content.clone() };
        let shorter = ImageContent { file_size: 4095.try_into().unwrap(), ..content.clone() };
        let other = ImageContent { sha256: Sha256Digest::from_bytes([7; 32]), ..content.clone() };
        for wrong in [longer, shorter, other] {
            let failure = cache.ensure(&wrong, &source).await.unwrap_err();
            assert!(matches!(failure, Failure::Retrying(_)), "{failure}");
        }
        let bigger = ImageContent { virtual_size: (65 << 20).try_into().unwrap(), ..content };
        let failure = cache.ensure(&bigger, &source).await.unwrap_err();
        assert!(matches!(failure, Failure::Refused(_)), "{failure}");
        assert_eq!(files(&cache), 0);
    }

    #[tokio::test]
    async fn an_image_that_reaches_for_other_files_is_refused() {
        let (_dir, cache) = cache();
        let (Bytes(mut bytes, _), _) = image();
        bytes[8..16].copy_from_slice(&1024_u64.to_be_bytes());
        bytes[16..20].copy_from_slice(&11_u32.to_be_bytes());
        bytes[1024..1035].copy_from_slice(b"/etc/shadow");
        let (source, content) = described(bytes);
        let failure = cache.ensure(&content, &source).await.unwrap_err();
        assert!(matches!(&failure, Failure::Refused(reason) if reason.contains("backing file")), "{failure}");
        assert_eq!(files(&cache), 0);
    }

    #[tokio::test]
    async fn an_image_whose_tables_are_damaged_is_refused() {
        let (_dir, cache) = cache();
        let (Bytes(mut bytes, _), _) = image();
        // The first table of reference counts counts nothing.
        let table = usize::try_from(u64::from_be_bytes(bytes[48..56].try_into().unwrap())).unwrap();
        bytes[table..table + 8].fill(0);
        let (source, content) = described(bytes);
        let failure = cache.ensure(&content, &source).await.unwrap_err();
        assert!(matches!(&failure, Failure::Refused(reason) if reason.contains("damaged")), "{failure}");
        assert_eq!(files(&cache), 0);
    }

    #[tokio::test]
    async fn links_that_somebody_planted_are_not_followed() {
        let (dir, cache) = cache();
        let (source, content) = image();
        let elsewhere = dir.path().join("precious");
        fs::write(&elsewhere, b"kept").unwrap();
        let place = cache.storage.image(content.sha256);
        std::os::unix::fs::symlink(&elsewhere, place.with_extension("part")).unwrap();
        cache.ensure(&content, &source).await.unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"kept");
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
        let failure = cache.ensure(&content, &source).await.unwrap_err().to_string();
        assert!(failure.contains("is no plain file"), "{failure}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"kept");
    }

    #[tokio::test]
    async fn what_a_killed_run_left_is_removed() {
        let (dir, cache) = cache();
        fs::write(cache.storage.images().join("abc.part"), b"half").unwrap();
        ImageCache::open(&Storage::open(dir.path()).unwrap()).unwrap();
        assert_eq!(files(&cache), 0);
    }
}
