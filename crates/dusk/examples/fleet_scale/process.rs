//! The master as seen from outside: what it says, and what it takes of the machine.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fleet::{Head, Heads};

/// The kernel counts processor time in hundredths.
const TICKS: u64 = 100;

pub struct Master {
    child: Child,
    said: BufReader<ChildStdout>,
    stdin: ChildStdin,
    pub ready: Ready,
}

/// Where it is and where it stands.
#[derive(Clone, Copy)]
pub struct Ready {
    pub address: SocketAddr,
    pub heads: Heads,
}

impl Master {
    pub fn start(count: u32) -> Result<Self> {
        let program = std::env::current_exe()?;
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("journal");
        let founder = Command::new(&program).args(["founder", &count.to_string()]).arg(&file).status()?;
        ensure!(founder.success(), "the fleet is founded");
        let mut command = Command::new(program);
        let command = command.arg("master").arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start the master")?;
        let stdin = child.stdin.take().context("its input")?;
        let mut said = BufReader::new(child.stdout.take().context("its output")?);
        let ready = read(&mut said)?;
        Ok(Self { child, said, stdin, ready })
    }

    /// Has it make a change, and says which index the log has then.
    pub fn change(&mut self) -> Result<u64> {
        writeln!(self.stdin, "change")?;
        let heads = read(&mut self.said)?.heads;
        ensure!(heads.index > self.ready.heads.index, "the change is decided");
        Ok(heads.index)
    }

    /// Resident memory, in MB.
    pub fn memory(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most it ever was.
    pub fn peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    pub fn processor_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("a stat line")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or_default());
        Ok(Duration::from_millis(ticks.sum::<u64>() * 1_000 / TICKS))
    }

    pub fn stop(mut self) -> Result<()> {
        drop(self.stdin);
        ensure!(self.child.wait()?.success(), "the master failed");
        Ok(())
    }

    fn status(&self, field: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("a status line")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }
}

fn read(said: &mut BufReader<ChildStdout>) -> Result<Ready> {
    let mut line = String::new();
    said.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let mut word = || words.next().context("the master ended early");
    let address = word()?.parse()?;
    let authority = Head { position: word()?.parse()?, entry: word()?.parse()? };
    let heads = Heads { authority, index: word()?.parse()?, checkpoint: word()?.parse()? };
    Ok(Ready { address, heads })
}
