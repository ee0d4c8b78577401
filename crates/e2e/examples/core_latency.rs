//! Prints how quickly the core accepts instances, and how quickly a job reaches its agent. The core is the real one in
//! a process of its own; router and hypervisor are simulated, so that nothing but the core is measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::{Client, Image, Instance, Network, State};
use e2e::installation::programs_dir;
use jobs::simulated::Simulated;
use jobs::{AgentConfig, Object, Target};
use pki::{Alpn, Authority, Roots};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const INSTANCES: usize = 500;
const NETWORKS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    pki::install_provider();
    let dir = tempfile::tempdir()?;
    let core = Core::start(dir.path()).await?;
    let (router, hypervisor) = (Arc::new(Simulated::router()), Arc::new(Simulated::hypervisor()));
    let end = CancellationToken::new();
    for (kind, target) in [("router", router.clone()), ("hypervisor", hypervisor.clone())] {
        core.join(kind, target, end.clone())?;
    }
    until("the agents are connected", async || {
        Ok(core.client.agents().await?.items.iter().filter(|agent| agent.connected).count() == 2)
    })
    .await?;
    let client = &core.client;
    image(client, dir.path()).await?;
    let lab: Network = made(client, json!({ "name": "lab", "spec": { "subnet": "10.64.0.0/20" } })).await?;
    until("the network is ready", async || Ok(client.get::<Network>(&"lab".parse()?).await?.state == State::Ready))
        .await?;

    let mut accepted = Vec::new();
    for number in 0..INSTANCES {
        let spec = json!({ "network": lab.id.to_string(), "image": "tiny" });
        let body = serde_json::from_value(json!({ "name": format!("instance-{number}"), "spec": spec }))?;
        let began = Instant::now();
        client.create::<Instance>(&body).await?;
        accepted.push(began.elapsed());
    }
    print("accept POST /v1/instances", &mut accepted);
    until("all instances are ready", async || {
        Ok(client.list::<Instance>().await?.iter().all(|instance| instance.state == State::Ready))
    })
    .await?;

    let mut reached = Vec::new();
    for number in 0..NETWORKS {
        let network: Network = made(client, json!({ "name": format!("network-{number}") })).await?;
        let answered = Instant::now();
        let object = Object::Network(network.id);
        let arrived = timeout(PATIENCE, arrival(&router, object)).await.context("a job never arrived")?;
        reached.push(arrived.saturating_duration_since(answered));
    }
    print("accepted request to job at agent", &mut reached);
    end.cancel();
    Ok(())
}

/// When the first job for an object was handed to the target.
async fn arrival(target: &Simulated, object: Object) -> Instant {
    let first =
        |state: &jobs::simulated::State| state.receipts.iter().find(|receipt| receipt.object == object).copied();
    target.until(|state| first(state).is_some()).await;
    first(&target.state()).expect("invariant: it was waited for").at
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what}: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms ({} times)",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    );
}

async fn made<K: api::Kind>(client: &Client, body: Value) -> Result<K>
where
    K::Create: DeserializeOwned,
{
    Ok(client.create::<K>(&serde_json::from_value(body)?).await?.resource)
}

/// A small image, which no one will boot.
async fn image(client: &Client, dir: &Path) -> Result<()> {
    use sha2::{Digest, Sha256};
    let file = dir.join("tiny.qcow2");
    let made_file = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&file).arg("16M").status()?;
    anyhow::ensure!(made_file.success(), "qemu-img create: {made_file}");
    let bytes = std::fs::read(&file)?;
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    let image: Image = made(client, json!({ "name": "tiny", "spec": { "sha256": sha256 } })).await?;
    let length = bytes.len() as u64;
    client.upload(image.id, length, tokio_stream::iter([Ok(bytes)])).await?;
    until("the image is ready", async || Ok(client.get::<Image>(&"tiny".parse()?).await?.state == State::Ready)).await
}

async fn until(what: &str, done: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done().await? {
        if Instant::now() > deadline {
            bail!("waited in vain: {what}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A core in a process of its own, killed at the end.
struct Core<'a> {
    dir: &'a Path,
    process: Child,
    client: Client,
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl<'a> Core<'a> {
    async fn start(dir: &'a Path) -> Result<Self> {
        let authority = Authority::load_or_init(&dir.join("ca"), OffsetDateTime::now_utc())?;
        let names = ["127.0.0.1".try_into()?];
        let issued = authority.issue_server(&names, OffsetDateTime::now_utc(), pki::SERVER_DAYS)?;
        issued.write(&dir.join("core.pem"), &dir.join("core.key"))?;
        let [http, jobs] = [free_port()?, free_port()?];
        let configuration = json!({
            "data_dir": dir.join("core"),
            "http": { "listen": format!("127.0.0.1:{http}"), "rate": { "token": null, "address": null } },
            "jobs": { "listen": format!("127.0.0.1:{jobs}"), "url": format!("https://127.0.0.1:{jobs}") },
            "tls": { "cert": dir.join("core.pem"), "key": dir.join("core.key") },
            "authority_dir": dir.join("ca"),
        });
        std::fs::write(dir.join("rhyzome.json"), configuration.to_string())?;
        let log = std::fs::File::create(dir.join("log"))?;
        let serve = ["serve", "--config"];
        let process = rhyzome().args(serve).arg(dir.join("rhyzome.json")).stdin(Stdio::null()).stderr(log).spawn()?;
        let listens = || std::net::TcpStream::connect(("127.0.0.1", http)).is_ok();
        until("the core listens", async || Ok(listens())).await?;
        let token = dir.join("token");
        admin(dir, &["token", "create", "--tenant", "local", "--name", "bench", "--scope", "*:*"], &token)?;
        let tls = pki::client_config(&Roots::from_pem(authority.certificate_pem())?, None, Alpn::Http1)?;
        let client = Client::new(&format!("https://127.0.0.1:{http}"), config::file::read_secret(&token)?, tls)?;
        let core = Self { dir, process, client };
        until("the core answers", async || Ok(core.client.agents().await.is_ok())).await?;
        Ok(core)
    }

    /// Runs an agent for a simulated target in this process.
    fn join(&self, kind: &str, target: Arc<dyn Target>, end: CancellationToken) -> Result<()> {
        let invitation = self.dir.join(format!("{kind}.invitation"));
        admin(self.dir, &["agent", "invite", "--kind", kind, "--name", kind], &invitation)?;
        let config = AgentConfig { core: None, invitation_file: Some(invitation), state_dir: self.dir.join(kind) };
        tokio::spawn(async move {
            if let Err(error) = jobs::run(&config, "bench", target, end).await {
                eprintln!("an agent ended: {error}");
            }
        });
        Ok(())
    }
}

fn admin(dir: &Path, arguments: &[&str], output: &Path) -> Result<()> {
    let mut command = rhyzome();
    command.arg("admin").args(arguments).arg("--config").arg(dir.join("rhyzome.json")).arg("--output").arg(output);
    let status = command.stderr(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "rhyzome admin {}: {status}", arguments.join(" "));
    Ok(())
}

fn rhyzome() -> Command {
    Command::new(programs_dir().join("rhyzome"))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
