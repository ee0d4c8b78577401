//! `rhyzomectl ssh-proxy`: what OpenSSH talks through (ProxyCommand in ssh_config(5)).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::holder::launch::Passage;
use crate::output::say;
use crate::value::{duration, show_seconds};

/// Bytes passed on at a time.
const BUFFER: usize = 64 * 1024;
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(500);

/// Carry stdin and stdout to a port in a network.
#[derive(Args, Debug)]
pub struct SshProxy {
    /// What it takes to enter the network
    passage: PathBuf,
    /// Where to
    remote: SocketAddrV4,
    /// For how long to try again where nothing listens yet
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    patience: Duration,
}

impl SshProxy {
    /// Carries them until the other side closes.
    pub async fn run(self) -> anyhow::Result<()> {
        let passage = Passage::read(&self.passage)?;
        let until = Instant::now() + self.patience;
        let mut told = false;
        let stream = loop {
            match passage.connect(self.remote).await {
                Ok(stream) => break stream,
                Err(error) if error.may_pass() && Instant::now() < until => {
                    if !told {
                        say(&format!("{error}; trying for {}", show_seconds(self.patience.as_secs())));
                        told = true;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let stream = stream.into_std().context("cannot use the connection")?;
        stream.set_nonblocking(false).context("cannot use the connection")?;
        carry(stream)
    }
}

/// Carries both directions until the other side has sent all that it will. The end of the process ends what is left of
/// the first.
fn carry(stream: UnixStream) -> anyhow::Result<()> {
    let outward = stream.try_clone().context("cannot use the connection")?;
    std::thread::spawn(move || {
        // What cannot be passed on shows in the other direction.
        let _ = pass(&mut io::stdin().lock(), &mut &outward);
        let _ = outward.shutdown(Shutdown::Write);
    });
    // Not through Rust's stdout, which keeps bytes until the end of a line.
    let stdout = io::stdout().as_fd().try_clone_to_owned().context("cannot use stdout")?;
    pass(&mut &stream, &mut File::from(stdout)).context("the connection broke")
}

/// Passes bytes on until there are no more. `io::copy` will not do: it calls splice(2), which on some kernels keeps a
/// pipe locked, and its reader waiting, while it waits itself for a socket.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
