//! A core to be measured: the real one in a process of its own, killed at the end.

#![allow(dead_code)] // each measurement uses a part

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use api::{Client, Image, State};
use e2e::installation::programs_dir;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pki::{Alpn, Authority, Roots};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(240);
/// Seldom enough that looking costs the core little.
const LOOK: Duration = Duration::from_millis(100);

/// Of the clock that processor time is told in: a constant of the system's interface (times(2)).
const TICKS: u64 = 100;

/// A running core with its directory.
pub struct Core<'a> {
    dir: &'a Path,
    configuration: PathBuf,
    process: Child,
    http: SocketAddr,
    /// Where agents dial.
    pub jobs: SocketAddr,
    /// Signed in, and allowed everything.
    pub client: Arc<Client>,
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

impl<'a> Core<'a> {
    /// Starts one that keeps everything in `dir`. `more` is added to its configuration: another database, say.
    pub async fn start(dir: &'a Path, more: Value) -> Result<Self> {
        let authority = Authority::load_or_init(&dir.join("ca"), OffsetDateTime::now_utc())?;
        let names = ["127.0.0.1".try_into()?];
        let issued = authority.issue_server(&names, OffsetDateTime::now_utc(), pki::SERVER_DAYS)?;
        issued.write(&dir.join("core.pem"), &dir.join("core.key"))?;
        let no_limit = json!({ "token": null, "address": null, "streams": 1000 });
        let [http, jobs] = [free_address()?, free_address()?];
        let mut configuration = json!({
            "data_dir": dir.join("core"),
            "http": { "listen": http, "rate": no_limit },
            "jobs": { "listen": jobs, "url": format!("https://{jobs}") },
            "tls": { "cert": dir.join("core.pem"), "key": dir.join("core.key") },
            "authority_dir": dir.join("ca"),
            "pools": { "networks": "10.0.0.0/9", "peers": "10.128.0.0/16" },
            "wireguard_first_port": 20000,
        });
        if let (Some(configuration), Value::Object(more)) = (configuration.as_object_mut(), more) {
            configuration.extend(more);
        }
        Self::launch(dir, &configuration).await
    }

    /// Starts another one over the same database, with addresses of its own.
    pub async fn start_beside(&self) -> Result<Self> {
        let mut configuration: Value = serde_json::from_slice(&std::fs::read(&self.configuration)?)?;
        configuration["http"]["listen"] = json!(free_address()?);
        configuration["jobs"]["listen"] = json!(free_address()?);
        Self::launch(self.dir, &configuration).await
    }

    async fn launch(dir: &'a Path, settings: &Value) -> Result<Self> {
        let address = |part: &str| serde_json::from_value::<SocketAddr>(settings[part]["listen"].clone());
        let [http, jobs] = [address("http")?, address("jobs")?];
        let configuration = dir.join(format!("rhyzome-{}.json", http.port()));
        std::fs::write(&configuration, settings.to_string())?;
        let process = spawn(dir, &configuration, http)?;
        let token = dir.join(format!("token-{}", http.port()));
        until("the core listens", async || Ok(std::net::TcpStream::connect(http).is_ok())).await?;
        let name = format!("bench-{}", http.port());
        let scope = ["token", "create", "--tenant", "local", "--name", &name, "--scope", "*:*"];
        admin(&configuration, &scope, &token)?;
        let roots = Roots::from_pem(&config::file::read(&dir.join("ca/ca.pem"))?)?;
        let tls = pki::client_config(&roots, None, Alpn::Http1)?;
        let client = Client::new(&format!("https://{http}"), config::file::read_secret(&token)?, tls)?;
        let core = Self { dir, configuration, process, http, jobs, client: Arc::new(client) };
        core.until_it_answers().await?;
        Ok(core)
    }

    async fn until_it_answers(&self) -> Result<()> {
        until("the core answers", async || Ok(self.client.agents().await.is_ok())).await
    }

    /// Has it end in good order, and says how long that took.
    pub async fn stop(&mut self) -> Result<Duration> {
        let began = Instant::now();
        kill(Pid::from_raw(self.process.id().try_into()?), Signal::SIGTERM)?;
        while self.process.try_wait()?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "the core does not end");
            sleep(LOOK).await;
        }
        Ok(began.elapsed())
    }

    /// Starts it again after [`Self::stop`].
    pub async fn start_again(&mut self) -> Result<()> {
        self.process = spawn(self.dir, &self.configuration, self.http)?;
        self.until_it_answers().await
    }

    /// The processor time that it has taken so far.
    pub fn processor_time(&self) -> Result<Duration> {
        processor_time(self.process.id())
    }

    /// Where callers find it: the address of its API, its CA and a token of its own.
    pub fn access(&self) -> Access {
        let token = self.dir.join(format!("token-{}", self.http.port()));
        Access { address: self.http, ca: self.dir.join("ca/ca.pem"), token }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts a simulation with so many members beside it, and waits until the core knows them all.
    pub async fn simulate(&self, hypervisors: u32, routers: u32) -> Result<Simulation> {
        self.simulate_with(hypervisors, routers, &json!({})).await
    }

    /// The same with a scenario.
    pub async fn simulate_with(&self, hypervisors: u32, routers: u32, scenario: &Value) -> Result<Simulation> {
        let bundle = self.dir.join("bundle.json");
        let (many, few) = (hypervisors.to_string(), routers.to_string());
        admin(&self.configuration, &["agent", "bundle", "--hypervisors", &many, "--routers", &few], &bundle)?;
        std::fs::write(self.dir.join("scenario.json"), scenario.to_string())?;
        // In memory: what is measured is the core, and a thousand agents of a real installation have a thousand disks.
        let state = tempfile::Builder::new().prefix("rhyzome-sim-").tempdir_in("/dev/shm")?;
        let mut simulation =
            Simulation { dir: self.dir.to_owned(), process: None, state, members: hypervisors + routers };
        simulation.start()?;
        self.until_connected(&simulation).await?;
        Ok(simulation)
    }

    /// Waits until the core knows all members.
    pub async fn until_connected(&self, simulation: &Simulation) -> Result<()> {
        let all = async || Ok(self.connected().await? >= simulation.members);
        until("the simulated targets are connected", all).await
    }

    /// How many agents are connected.
    async fn connected(&self) -> Result<u32> {
        let agents = self.client.agents().await?.items;
        Ok(agents.iter().filter(|agent| agent.connected).count().try_into()?)
    }

    /// An image that instances can name, and that no machine will boot: the header of qcow2's version 2 alone.
    pub async fn image(&self) -> Result<()> {
        use sha2::{Digest, Sha256};
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
        bytes[23] = 16;
        bytes[28] = 1;
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        let image: Image = made(&self.client, json!({ "name": "tiny", "spec": { "sha256": sha256 } })).await?;
        let length = bytes.len() as u64;
        self.client.upload(image.id, length, tokio_stream::iter([Ok(bytes)])).await?;
        let ready = async || Ok(self.client.get::<Image>(&"tiny".parse()?).await?.state == State::Ready);
        until("the image is ready", ready).await
    }

    /// The core's resident memory, in megabytes.
    pub fn memory_mb(&self) -> Result<u64> {
        memory_mb(self.process.id())
    }

    /// Makes an invitation, and gives its file.
    pub fn invite(&self, kind: &str) -> Result<PathBuf> {
        let invitation = self.dir.join(format!("{kind}.invitation"));
        admin(&self.configuration, &["agent", "invite", "--kind", kind, "--name", kind], &invitation)?;
        Ok(invitation)
    }
}

/// A simulation; dropped, it ends.
pub struct Simulation {
    dir: PathBuf,
    process: Option<Child>,
    state: tempfile::TempDir,
    members: u32,
}

impl Simulation {
    /// Starts it, again after [`Self::stop`].
    pub fn start(&mut self) -> Result<()> {
        let log = std::fs::File::create(self.dir.join("sim.log"))?;
        let mut command = program("rhyzome-sim");
        command.args(["serve", "--invitations"]).arg(self.dir.join("bundle.json"));
        command.arg("--scenario").arg(self.dir.join("scenario.json")).arg("--state-dir").arg(self.members());
        self.process = Some(command.stdin(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    /// Ends it without a word, as a power cut would.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // It may have ended by itself.
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Where members keep what is wanted of them, each in a directory that has its name.
    pub fn members(&self) -> PathBuf {
        self.state.path().join("members")
    }

    /// Its resident memory, in megabytes.
    pub fn memory_mb(&self) -> Result<u64> {
        self.process.as_ref().map_or(Ok(0), |process| memory_mb(process.id()))
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where callers find a core.
pub struct Access {
    /// The address of its API.
    pub address: SocketAddr,
    /// The file of its CA.
    pub ca: PathBuf,
    /// The file of a token.
    pub token: PathBuf,
}

/// Makes a resource.
pub async fn made<K: api::Kind>(client: &Client, body: Value) -> Result<K>
where
    K::Create: DeserializeOwned,
{
    Ok(client.create::<K>(&serde_json::from_value(body)?).await?.resource)
}

/// Waits until `done` says so.
pub async fn until(what: &str, done: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done().await? {
        if Instant::now() > deadline {
            bail!("waited in vain: {what}");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// The time below which that share of the times lies, in milliseconds. Sorts them.
pub fn quantile_ms(times: &mut [Duration], share: f64) -> f64 {
    times.sort();
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

fn memory_mb(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.unwrap_or_default() / 1024)
}

/// The processor time that a process has taken, in its own code and in the system's (proc(5), `stat`).
fn processor_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

fn spawn(dir: &Path, configuration: &Path, http: SocketAddr) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(dir.join(format!("log-{}", http.port())))?;
    let mut command = program("rhyzome");
    command.args(["--log", "warn", "serve", "--config"]).arg(configuration);
    Ok(command.stdin(Stdio::null()).stderr(log).spawn()?)
}

fn admin(configuration: &Path, arguments: &[&str], output: &Path) -> Result<()> {
    let mut command = program("rhyzome");
    command.arg("admin").args(arguments).arg("--config").arg(configuration).arg("--output").arg(output);
    let status = command.stderr(Stdio::null()).status()?;
    ensure!(status.success(), "rhyzome admin {}: {status}", arguments.join(" "));
    Ok(())
}

fn program(name: &str) -> Command {
    Command::new(programs_dir().join(name))
}

/// An address that nobody listens at.
pub fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
