//! Asking a holder for a stream, and starting one where there is none.

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::Place;
use super::request::{LINE, Reply, Request, line};
use crate::tunnel::{Entrance, OPENING_PATIENCE};

/// How long a holder may take to start.
const STARTING: Duration = Duration::from_secs(10);
/// Time between two looks at a holder that starts.
const LOOK: Duration = Duration::from_millis(20);
/// How long a holder may take to leave.
const LEAVING: Duration = Duration::from_secs(2);
/// How long a holder may take to answer: a stream's time to open and some more.
const ANSWER: Duration = Duration::from_secs(OPENING_PATIENCE.as_secs() + 5);

/// What it takes to enter a network: all that a holder is told.
#[derive(Clone, Debug)]
pub struct Passage {
    /// How the network is entered.
    pub entrance: Entrance,
    /// The file with the peer's private key.
    pub key_file: PathBuf,
    /// Where the holder is.
    pub place: Place,
}

/// A passage as its file has it; the place is where the file lies.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    entrance: Entrance,
    key_file: PathBuf,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The WireGuard server did not answer.
    #[error("the WireGuard server of network {network} at {endpoint} does not answer{}", detail(.failure.as_deref()))]
    NoHandshake {
        /// The network.
        network: String,
        /// Where its server is said to be.
        endpoint: String,
        /// What the system said about sending there.
        failure: Option<String>,
    },
    /// The machine did not answer.
    #[error("{0} does not answer, though its network does")]
    NoAnswer(SocketAddrV4),
    /// The machine refused the connection.
    #[error("{0} refuses the connection: nothing listens there")]
    Refused(SocketAddrV4),
    /// The tunnel could not be had.
    #[error(transparent)]
    Tunnel(#[from] anyhow::Error),
}

impl StreamError {
    /// Whether a machine that is just starting answers like this.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoHandshake { .. } | Self::NoAnswer(_) | Self::Refused(_) => true,
            Self::Tunnel(_) => false,
        }
    }
}

fn detail(failure: Option<&str>) -> String {
    match failure {
        Some(failure) => format!(" (sending there: {failure})"),
        None => ": it may be down, or a firewall keeps UDP from it".to_owned(),
    }
}

impl Passage {
    /// The passage through `entrance` whose holder has its socket in `directory`; written there for it.
    pub fn write(entrance: Entrance, key_file: PathBuf, directory: &Path) -> anyhow::Result<Self> {
        let place = Place::of(entrance.network, directory);
        let written = Written { entrance, key_file };
        config::file::write_private(&place.passage(), &line(&written))?;
        Ok(Self { entrance: written.entrance, key_file: written.key_file, place })
    }

    /// Reads what `write` wrote to `file`.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = config::file::read(file)?;
        let written: Written = config::parse(&text, file)?;
        let directory = file.parent().unwrap_or(Path::new("."));
        let place = Place::of(written.entrance.network, directory);
        Ok(Self { entrance: written.entrance, key_file: written.key_file, place })
    }

    /// A stream to `remote` through the holder, which is started where there is none.
    pub async fn connect(&self, remote: SocketAddrV4) -> Result<UnixStream, StreamError> {
        // A holder may be leaving, or know a way in that is no longer right: the one after it will do.
        for _ in 0..3 {
            let mut socket = self.reach().await?;
            let request = line(&Request::Open { entrance: self.entrance.clone(), remote });
            let reply = match timeout(ANSWER, ask(&mut socket, &request)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) if is_gone(&error) => continue,
                Ok(Err(error)) => {
                    return Err(anyhow::Error::from(error).context(self.complaint("does not answer")).into());
                }
                Err(_) => return Err(anyhow!(self.complaint("does not answer")).into()),
            };
            return match reply {
                Reply::Open => Ok(socket),
                Reply::Outdated => continue,
                Reply::NoHandshake(failure) => Err(StreamError::NoHandshake {
                    network: self.entrance.name.to_string(),
                    endpoint: self.entrance.endpoint.clone(),
                    failure,
                }),
                Reply::NoAnswer => Err(StreamError::NoAnswer(remote)),
                Reply::Refused => Err(StreamError::Refused(remote)),
                Reply::Elsewhere => {
                    let (name, subnet) = (&self.entrance.name, self.entrance.subnet);
                    Err(anyhow!("{remote} is not in network {name} ({subnet})").into())
                }
                Reply::Full => Err(anyhow!(self.complaint("has as many streams as it can")).into()),
                Reply::Malformed(why) => Err(anyhow!("{}: {why}", self.complaint("does not understand")).into()),
            };
        }
        Err(anyhow!(self.complaint("keeps leaving")).into())
    }

    /// Connects to the holder, or starts one and connects to that.
    async fn reach(&self) -> anyhow::Result<UnixStream> {
        let socket = self.place.socket();
        let until = Instant::now() + STARTING;
        let mut holder: Option<Child> = None;
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot connect to {}", socket.display())),
            }
            let ended = holder.as_mut().map(Child::try_wait).transpose().context("cannot watch the holder")?.flatten();
            match ended {
                Some(status) if !status.success() => bail!("{}: {}", self.complaint("failed"), self.last_words()),
                // It ends well where another holds the place: that may be one that leaves.
                Some(_) => holder = None,
                None => {}
            }
            if holder.is_none() {
                holder = Some(self.start()?);
            }
            if Instant::now() >= until {
                bail!(self.complaint("does not start"));
            }
            sleep(LOOK).await;
        }
    }

    /// Starts a holder that outlives this process and its terminal.
    fn start(&self) -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("cannot find the own program")?;
        let log = self.place.log();
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        Command::new(program)
            .arg("hold-network")
            .arg(self.place.passage())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .current_dir("/")
            // A group of its own is not interrupted with the terminal's, and is not hung up with it.
            .process_group(0)
            .spawn()
            .context("cannot start the holder of the tunnel")
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.place.log()).unwrap_or_default();
        log.trim().lines().last().unwrap_or("it said nothing").to_owned()
    }

    fn complaint(&self, what: &str) -> String {
        format!(
            "the holder of the tunnel into network {} {what} (see {})",
            self.entrance.name,
            self.place.log().display()
        )
    }
}

/// Ends the holder at `place`, if there is one, and whatever it left behind: its network is gone.
pub async fn dismiss(place: &Place) {
    if let Ok(mut socket) = UnixStream::connect(place.socket()).await
        && socket.write_all(&line(&Request::Leave)).await.is_ok()
    {
        let mut rest = Vec::new();
        // One that does not leave in time will when nobody has used it for long enough.
        let _ = timeout(LEAVING, socket.read_to_end(&mut rest)).await;
    }
    place.clean();
}

async fn ask(socket: &mut UnixStream, request: &[u8]) -> std::io::Result<Reply> {
    socket.write_all(request).await?;
    let mut line = Vec::new();
    // Byte by byte: what follows the line belongs to the stream.
    loop {
        match socket.read_u8().await? {
            b'\n' => return serde_json::from_slice(&line).map_err(std::io::Error::from),
            _ if line.len() >= LINE => return Err(ErrorKind::InvalidData.into()),
            byte => line.push(byte),
        }
    }
}

/// Whether there is no holder behind a socket.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// Whether the holder left in the middle.
fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
