//! Images from the core, over whatever connection there is.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::Channel;
use types::Sha256Digest;

use crate::ImageSource;
use crate::proto::ImageRequest;
use crate::proto::jobs_client::JobsClient;

/// Longest wait for a connection, and then for each piece of an image.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fetches images from the core that the agent is connected to.
pub struct CoreImages {
    connection: watch::Receiver<Option<Channel>>,
}

impl CoreImages {
    /// A source that uses the newest connection.
    pub fn new(connection: watch::Receiver<Option<Channel>>) -> Self {
        Self { connection }
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        let mut connection = self.connection.clone();
        let there = timeout(PATIENCE, connection.wait_for(Option::is_some)).await;
        let channel = there.ok().and_then(Result::ok).and_then(|channel| channel.clone());
        channel.context("there is no connection to the core")
    }
}

#[async_trait]
impl ImageSource for CoreImages {
    async fn fetch(&self, sha256: Sha256Digest, sink: &mut (dyn AsyncWrite + Send + Unpin)) -> anyhow::Result<()> {
        let channel = self.channel().await?;
        let request = ImageRequest { sha256: sha256.to_string() };
        let slow = || format!("the core sent nothing of image {sha256} for {} s", PATIENCE.as_secs());
        let refused = || format!("the core does not send image {sha256}");
        let mut client = JobsClient::new(channel);
        let asked = timeout(PATIENCE, client.fetch_image(request)).await;
        let mut chunks = asked.with_context(slow)?.with_context(refused)?.into_inner();
        while let Some(chunk) = timeout(PATIENCE, chunks.message()).await.with_context(slow)?.with_context(refused)? {
            sink.write_all(&chunk.data).await.context("cannot write the image")?;
        }
        sink.flush().await.context("cannot write the image")
    }
}
