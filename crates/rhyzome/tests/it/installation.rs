//! A core of its own for one test: certificates, database, the running program, and simulated agents.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use api::{Client, Kind, Operation, OperationState, Reference};
use jobs::agent::AgentConfig;
use jobs::simulated::Simulated;
use pki::{Alpn, Roots};
use tempfile::TempDir;
use testbed::Engine;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use types::{OperationId, SecretText};

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One running core.
pub struct Installation {
    dir: TempDir,
    _database: testbed::Ground,
    http: String,
    environment: Vec<(&'static str, OsString)>,
    core: Option<Child>,
    agents: Vec<(String, CancellationToken, tokio::task::JoinHandle<()>)>,
}

/// What these tests run on.
pub fn engine() -> Engine {
    Engine::of(env!("CARGO_CRATE_NAME"))
}

/// A core beside the first.
pub struct Replica {
    /// Where its API is.
    pub http: String,
    /// Where agents dial.
    pub jobs: String,
    /// The process.
    pub process: Child,
}

/// A port that is free at this moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Installation {
    /// Makes everything and starts the core.
    pub async fn start() -> Self {
        let mut installation = Self::prepare().await;
        installation.token("local", &["*:*"], "tester").await;
        installation.start_core().await;
        installation
    }

    /// Makes the CA, the certificate and the configuration, and starts nothing.
    pub async fn prepare() -> Self {
        Self::prepare_with(|_| ()).await
    }

    /// The same, with a configuration that `change` made of the usual one.
    pub async fn prepare_with(change: impl FnOnce(&mut serde_json::Value)) -> Self {
        pki::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (http, jobs) = (free_port(), free_port());
        let database = testbed::Ground::new(engine()).await;
        let mut config = serde_json::json!({
            "data_dir": path("data"),
            "http": {"listen": format!("127.0.0.1:{http}")},
            "jobs": {"listen": format!("127.0.0.1:{jobs}"), "url": format!("https://127.0.0.1:{jobs}")},
            "tls": {"ca": path("pki/ca.pem"), "cert": path("cert.pem"), "key": path("key.pem")},
            "authority_dir": path("pki"),
        });
        if let Some(setting) = database.setting() {
            config["database"] = setting;
        }
        change(&mut config);
        std::fs::write(dir.path().join("rhyzome.json"), config.to_string()).unwrap();
        let installation = Self {
            http: format!("https://127.0.0.1:{http}"),
            dir,
            _database: database,
            environment: Vec::new(),
            core: None,
            agents: Vec::new(),
        };
        let pki = installation.file("pki").display().to_string();
        installation.command(&["pki", "init", "--dir", &pki]).await;
        let (cert, key) = (installation.file("cert.pem"), installation.file("key.pem"));
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        installation
            .command(&["pki", "issue", "--dir", &pki, "--name", "127.0.0.1", "--cert", &cert, "--key", &key])
            .await;
        installation
    }

    /// Makes everything with a configuration that `change` made of the usual one, and starts the core.
    pub async fn start_with(change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut installation = Self::prepare_with(change).await;
        installation.token("local", &["*:*"], "tester").await;
        installation.start_core().await;
        installation
    }

    /// Sets a variable of the environment for cores that are started later.
    pub fn environment(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// A file of the installation.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `rhyzome` and gives what it printed.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let done = Command::new(env!("CARGO_BIN_EXE_rhyzome")).args(arguments).output().await.unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs `rhyzome admin` on the installation, which may fail; gives whether it did well, and all that it printed.
    pub async fn admin(&self, arguments: &[&str]) -> (bool, String) {
        let config = self.file("rhyzome.json");
        let done = Command::new(env!("CARGO_BIN_EXE_rhyzome"))
            .args(["--log", "warn", "admin"])
            .args(arguments)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let printed = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(printed).unwrap())
    }

    /// Ends all agents, which can be run again.
    pub async fn stop_agents(&mut self) {
        for (_, shutdown, task) in self.agents.drain(..) {
            shutdown.cancel();
            task.await.unwrap();
        }
    }

    /// Makes a token; its file has the name of its owner.
    pub async fn token(&self, tenant: &str, scopes: &[&str], name: &str) -> PathBuf {
        let (config, output) = (self.file("rhyzome.json"), self.file(name));
        let (config, file) = (config.display().to_string(), output.display().to_string());
        let mut arguments = vec!["admin", "token", "create", "--config", &config, "--tenant", tenant, "--name", name];
        for scope in scopes {
            arguments.extend(["--scope", scope]);
        }
        arguments.extend(["--output", &file]);
        self.command(&arguments).await;
        output
    }

    /// Starts the core and waits for it to be ready.
    pub async fn start_core(&mut self) {
        let log = std::fs::File::options().append(true).create(true).open(self.file("core.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rhyzome"))
            .args(["serve", "--config"])
            .arg(self.file("rhyzome.json"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.core = Some(child);
        let client = self.client("tester");
        until("the core to answer", async || client.agents().await.ok()).await;
    }

    /// Ends the core at once, as a crash would.
    pub async fn kill_core(&mut self) {
        let mut child = self.core.take().unwrap();
        child.kill().await.unwrap();
    }

    /// Asks the core to end in good order, and gives its process.
    pub fn terminate_core(&mut self) -> Child {
        let child = self.core.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().unwrap().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        child
    }

    /// A client with the token in the file of that name.
    pub fn client(&self, token: &str) -> Client {
        self.client_of(&self.http, token)
    }

    /// The same for another core.
    pub fn client_of(&self, http: &str, token: &str) -> Client {
        let token = std::fs::read_to_string(self.file(token)).unwrap();
        Client::new(http, SecretText::new(token.trim().to_owned()), self.tls()).unwrap()
    }

    /// Another core over the same database, with ports of its own.
    pub fn replica(&self, only: Option<&str>) -> Replica {
        let (http, jobs) = (free_port(), free_port());
        let text = std::fs::read_to_string(self.file("rhyzome.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["http"]["listen"] = format!("127.0.0.1:{http}").into();
        config["jobs"]["listen"] = format!("127.0.0.1:{jobs}").into();
        let file = self.file(&format!("replica-{http}.json"));
        std::fs::write(&file, config.to_string()).unwrap();
        let log = std::fs::File::options().append(true).create(true).open(self.file("core.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rhyzome"));
        command.args(["serve", "--config"]).arg(file).stdin(Stdio::null()).stderr(log).kill_on_drop(true);
        if let Some(part) = only {
            command.args(["--only", part]);
        }
        let (http, jobs) = (format!("https://127.0.0.1:{http}"), format!("https://127.0.0.1:{jobs}"));
        Replica { http, jobs, process: command.spawn().unwrap() }
    }

    /// What the API is reached under.
    pub fn url(&self) -> &str {
        &self.http
    }

    /// TLS that believes the CA of the configuration.
    pub fn tls(&self) -> pki::ClientConfig {
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.file("rhyzome.json")).unwrap()).unwrap();
        let ca = config["tls"]["ca"].as_str().unwrap();
        let roots = Roots::from_pem(&std::fs::read_to_string(ca).unwrap()).unwrap();
        pki::client_config(&roots, None, Alpn::Http1).unwrap()
    }

    /// Makes an invitation; gives its file.
    pub async fn invite(&self, kind: &str, name: &str) -> PathBuf {
        let (config, output) = (self.file("rhyzome.json"), self.file(&format!("{name}.invitation")));
        let (config, file) = (config.display().to_string(), output.display().to_string());
        self.command(&[
            "admin", "agent", "invite", "--config", &config, "--kind", kind, "--name", name, "--output", &file,
        ])
        .await;
        output
    }

    /// Runs the agent of a simulated target.
    pub async fn agent(&mut self, kind: &str, name: &str, target: &Arc<Simulated>) {
        self.agent_of(None, kind, name, target).await;
    }

    /// The same with a core of its own choice.
    pub async fn agent_of(&mut self, core: Option<&str>, kind: &str, name: &str, target: &Arc<Simulated>) {
        let invitation = self.file(&format!("{name}.invitation"));
        if !invitation.exists() {
            self.invite(kind, name).await;
        }
        let core = core.map(|core| core.parse::<jobs::CoreUrl>().unwrap().into());
        let config = AgentConfig { core, invitation_file: Some(invitation), tls: None, state_dir: self.file(name) };
        self.run_agent(name, config, target).await;
    }

    /// Runs the agent of a simulated target with a configuration of its own.
    pub async fn run_agent(&mut self, name: &str, config: AgentConfig, target: &Arc<Simulated>) {
        let shutdown = CancellationToken::new();
        let (token, target) = (shutdown.clone(), Arc::clone(target));
        let task = tokio::spawn(async move {
            jobs::agent::run(&config, "simulated", target, token).await.unwrap();
        });
        self.agents.push((name.to_owned(), shutdown, task));
        let client = self.client("tester");
        until(&format!("{name} to connect"), async || {
            let agents = client.agents().await.ok()?.items;
            agents.iter().any(|agent| agent.name == name && agent.connected).then_some(())
        })
        .await;
    }

    /// Ends the agent of that target, and waits until the core knows.
    pub async fn stop_agent(&mut self, name: &str) {
        let place = self.agents.iter().position(|(running, ..)| running == name).unwrap();
        let (_, shutdown, task) = self.agents.remove(place);
        shutdown.cancel();
        task.await.unwrap();
        let client = self.client("tester");
        until(&format!("{name} to leave"), async || {
            let agents = client.agents().await.ok()?.items;
            agents.iter().any(|agent| agent.name == name && !agent.connected).then_some(())
        })
        .await;
    }

    /// The core's process.
    pub fn core_pid(&self) -> u32 {
        self.core.as_ref().unwrap().id().unwrap()
    }

    /// What the core logged, for the message of a test that fails.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("core.log")).unwrap_or_default()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        for (_, shutdown, task) in &self.agents {
            shutdown.cancel();
            task.abort();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Asks again until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited too long for {what}");
        tick.tick().await;
    }
}

/// Waits for an operation's end.
pub async fn ended(client: &Client, operation: OperationId) -> Operation {
    until("the operation to end", async || {
        let operation = client.operation(operation).await.unwrap();
        operation.state.is_final().then_some(operation)
    })
    .await
}

/// Waits for an operation that must succeed.
pub async fn succeeded(client: &Client, operation: OperationId) -> Operation {
    let operation = ended(client, operation).await;
    assert_eq!(operation.state, OperationState::Succeeded, "{operation:?}");
    operation
}

/// A reference by name.
pub fn named<K: Kind>(name: &str) -> Reference<K::Id> {
    Reference::Name(name.parse().unwrap())
}

/// The path of a file that every test may read.
pub fn project_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// A small qcow2 image, as far as its header.
pub fn qcow2() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    bytes[7] = 3;
    bytes[23] = 16;
    bytes[28..32].copy_from_slice(&(64_u32 << 20).to_be_bytes());
    bytes[103] = 112;
    bytes
}
