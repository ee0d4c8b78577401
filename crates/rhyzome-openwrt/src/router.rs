//! The router as the agent talks to it: reads, commands and transactions over ubus.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use pki::{Alpn, Roots, client_config};
use serde::Deserialize;
use serde_json::{Value, json};
use ubus::{
    BoxError, Client, Credentials, Https, Limits, Local, Outcome, Session, Status, Transaction, TransactionError, Ubus,
    UbusError,
};
use uci::{Change, Config, PackageName};

use crate::board::{Board, Info};
use crate::command::Command;
use crate::configuration::RouterConfig;
use crate::effect::Dump;
use crate::render::{PACKAGES, package_name};

/// A router and our login to it.
pub struct Router {
    client: Arc<Client>,
    transaction: Transaction,
    packages: Vec<PackageName>,
}

/// What a command on the router answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to its standard output.
    #[serde(default)]
    pub stdout: String,
    /// What it wrote to its standard error.
    #[serde(default)]
    pub stderr: String,
}

/// The process ids of the running instances of dnsmasq, by the names of their sections.
pub type NameServers = BTreeMap<String, u64>;

/// What comes before the path of a local socket.
const LOCAL: &str = "ubus://";

/// The way to the router.
fn connection(config: &RouterConfig) -> anyhow::Result<Arc<dyn Ubus>> {
    let deadline = Duration::from_secs(config.call_timeout_seconds.get().into());
    if let Some(socket) = config.url.strip_prefix(LOCAL) {
        ensure!(
            socket.starts_with('/'),
            "router.url: {:?} is no local socket; expected one as in {LOCAL}{}",
            config.url,
            Local::SOCKET
        );
        return Ok(Arc::new(Local::new(Path::new(socket)).with_deadline(deadline)));
    }
    let path = config.ca.as_ref().context("router.ca is missing; expected the CA of the router's certificate")?;
    let ca = config::file::read(path).context("router.ca")?;
    let roots = Roots::from_pem(&ca).with_context(|| format!("router.ca: {}", path.display()))?;
    let limits = Limits { total: deadline, ..Limits::default() };
    let ubus = Https::new(&config.url, client_config(&roots, None, Alpn::Http1)?, limits);
    Ok(Arc::new(ubus.context("router.url")?))
}

impl Router {
    /// The router that a configuration names. Reads its files and connects to nothing.
    pub fn configured(config: &RouterConfig) -> anyhow::Result<Self> {
        let password = config::file::read_secret(&config.password_file).context("router.password_file")?;
        let ubus = connection(config)?;
        let rollback = config.rollback_timeout_seconds.get();
        let settings = ubus::Settings {
            rollback,
            // The rest is for the confirmation.
            verify: rollback * 2 / 3,
            ..ubus::Settings::new(&config.lock_file)
        };
        let credentials = Credentials { username: config.username.clone(), password };
        Self::new(ubus, credentials, settings)
    }

    /// The router at the other end of `ubus`.
    pub fn new(ubus: Arc<dyn Ubus>, credentials: Credentials, settings: ubus::Settings) -> anyhow::Result<Self> {
        let client = Arc::new(Client::new(ubus, credentials));
        let transaction = Transaction::new(Arc::clone(&client), settings)?;
        Ok(Self { client, transaction, packages: PACKAGES.into_iter().map(package_name).collect() })
    }

    /// Logs in.
    pub async fn session(&self) -> Result<Session, UbusError> {
        self.client.login(None).await
    }

    /// Reads the packages that networks have sections in.
    pub async fn config(&self) -> Result<Config, UbusError> {
        self.client.read(&self.packages).await
    }

    /// Reads which router this is.
    pub async fn board(&self) -> anyhow::Result<Board> {
        let answer = self.client.call("system", "board", json!({})).await?;
        serde_json::from_value(answer.unwrap_or_default()).context("system board is not as expected")
    }

    /// Reads how the router fares.
    pub async fn info(&self) -> anyhow::Result<Info> {
        let answer = self.client.call("system", "info", json!({})).await?;
        serde_json::from_value(answer.unwrap_or_default()).context("system info is not as expected")
    }

    /// Reads the state of the interfaces.
    pub async fn dump(&self) -> anyhow::Result<Dump> {
        let answer = self.client.call("network.interface", "dump", json!({})).await?;
        serde_json::from_value(answer.unwrap_or_default()).context("network.interface dump is not as expected")
    }

    /// Runs a command; that it failed is in its exit code.
    pub async fn run(&self, command: &Command) -> anyhow::Result<Output> {
        let args = json!({"command": command.program, "params": command.arguments});
        let answer = self.client.call("file", "exec", args).await;
        let answer = answer.map_err(|error| {
            let reason = match error.status() {
                Some(Status::PermissionDenied) => format!("the login may not run {command}"),
                _ => format!("the router does not run {command}"),
            };
            anyhow::Error::new(error).context(reason)
        })?;
        serde_json::from_value(answer.unwrap_or_default()).context("file exec is not as expected")
    }

    /// The instances of dnsmasq that procd keeps; nothing where it does not tell.
    pub async fn name_servers(&self) -> Option<NameServers> {
        let answer = self.client.call("service", "list", json!({"name": "dnsmasq"})).await.ok()??;
        let instances = answer.get("dnsmasq")?.get("instances")?.as_object()?;
        let running = |(name, instance): (&String, &Value)| {
            let is_running = instance.get("running").and_then(Value::as_bool) == Some(true);
            is_running.then(|| (name.clone(), instance.get("pid").and_then(Value::as_u64).unwrap_or(0)))
        };
        Some(instances.iter().filter_map(running).collect())
    }

    /// Changes the configuration as [`Transaction::run`] does.
    pub async fn change<P, V, F>(&self, plan: P, verify: V) -> Result<Outcome, TransactionError>
    where
        P: FnOnce(&Config) -> Result<Vec<Change>, uci::DiffError>,
        V: FnMut() -> F,
        F: Future<Output = Result<(), BoxError>>,
    {
        self.transaction.run(&self.packages, plan, verify).await
    }
}
