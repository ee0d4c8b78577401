//! Orders while the fleet runs: a Unix socket that only its owner can use, a line of JSON each way.

use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::fleet::Fleet;
use crate::order::{Answer, Order};

/// The longest order.
const LONGEST: u64 = 1 << 20;

/// Listens at `path`, in the place of a socket that nobody listens at any more. To be called while no other thread
/// makes files: for a moment all of them would be the owner's alone.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another rhyzome-sim listens at {}", path.display());
    }
    config::file::remove(path)?;
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    bound.with_context(|| format!("cannot listen at {}", path.display()))
}

/// Obeys whoever connects, for ever.
pub async fn serve(listener: UnixListener, fleet: Fleet) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    callers.spawn(attend(stream, fleet.clone()));
                }
                Err(error) => tracing::warn!(%error, "a caller at the control socket was lost"),
            },
            Some(_) = callers.join_next() => {}
        }
    }
}

/// Gives an order to the fleet that listens at `path`, and hears what came of it.
pub async fn tell(path: &Path, order: &Order) -> anyhow::Result<Answer> {
    let stream = UnixStream::connect(path).await.with_context(|| format!("cannot reach {}", path.display()))?;
    let (read, mut write) = stream.into_split();
    write.write_all(format!("{}\n", serde_json::to_string(order)?).as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await?;
    serde_json::from_str(&line).context("the fleet's answer cannot be read")
}

async fn attend(stream: UnixStream, fleet: Fleet) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(tokio::io::AsyncReadExt::take(read, LONGEST)).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match config::parse::<Order>(&line, Path::new("order")) {
            Ok(order) => fleet.obey(&order),
            Err(error) => Answer::Refused(error.to_string()),
        };
        let text = serde_json::to_string(&answer).unwrap_or_else(|error| error.to_string());
        write.write_all(format!("{text}\n").as_bytes()).await?;
    }
    Ok(())
}
