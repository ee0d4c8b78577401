//! The router while it is taken into service: connections that trust what is asked, files, and the transaction.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use data_encoding::BASE64;
use pki::{Alpn, CertificateDer, Fingerprint, Roots, ServerName, TlsConnector};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use types::SecretText;
use ubus::{Client, Credentials, Https, Limits, RpcCode, Status, Transaction, TransactionError, UbusError};
use uci::{Change, Config, PackageName};

use super::address::Address;
use super::journal::Journal;
use super::{ACL, CERTIFICATE, KEEP, KEY, PACKAGES, ROLLBACK, SWITCH};
use crate::acl;
use crate::board::Board;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How much longer than its time another change is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a session lasts that is made for a look.
const BRIEF: Duration = Duration::from_secs(30);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// Whom a connection trusts.
pub enum Trust {
    /// The certificates with these fingerprints.
    Pins(Vec<Fingerprint>),
    /// What this CA signed, under the right name.
    Ca(Roots),
}

/// A router, and a login to it.
pub struct Device {
    client: Arc<Client>,
}

/// The certificate that a router shows. Nothing is sent to it.
pub async fn look(address: &Address) -> anyhow::Result<CertificateDer<'static>> {
    let (config, seen) = pki::looking_client_config(Alpn::Http1)?;
    let name = ServerName::try_from(address.host().to_owned())?;
    let handshake = async {
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        // It fails in any case, as the certificate is not believed.
        let _ = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Ok::<_, std::io::Error>(())
    };
    let limit = || format!("{} does not answer within {} s", address.url(), CONNECT.as_secs());
    timeout(CONNECT, handshake).await.with_context(limit)?.with_context(|| address.url())?;
    seen.certificate().with_context(|| format!("{} speaks no TLS; expected uhttpd with HTTPS", address.url()))
}

impl Device {
    /// A device; connects to nothing.
    pub fn open(address: &Address, trust: &Trust, user: &str, password: &SecretText) -> anyhow::Result<Self> {
        let tls = match trust {
            Trust::Pins(pins) => pki::pinned_client_config(pins, Alpn::Http1)?,
            Trust::Ca(roots) => pki::client_config(roots, None, Alpn::Http1)?,
        };
        let ubus = Https::new(&address.url(), tls, Limits::default())?;
        let password = SecretText::new(password.reveal().to_owned());
        let credentials = Credentials { username: user.to_owned(), password };
        Ok(Self { client: Arc::new(Client::new(Arc::new(ubus), credentials)) })
    }

    /// Refuses a router that we do not work, that lacks a package, or a login that lacks a right of an access list.
    pub async fn check(&self, access_list: &str) -> anyhow::Result<()> {
        // It is left to expire: while a change of the same user is pending, the login gives the session that can confirm
        // it, which must not end.
        let session = self.client.login(Some(BRIEF)).await.map_err(explained)?;
        let lacking: Vec<String> = acl::granted(access_list)
            .iter()
            .filter(|right| !right.is_in(session.rights()))
            .map(ToString::to_string)
            .collect();
        let board = session.call("system", "board", json!({})).await;
        if let Ok(board) = board {
            serde_json::from_value::<Board>(board.unwrap_or_default())
                .context("system board is not as expected")?
                .check()?;
        }
        ensure!(lacking.is_empty(), "the login may not {}", lacking.join(", "));
        Ok(())
    }

    /// Notes down what is there, where the journal does not say it.
    pub async fn complete(&self, mut journal: Journal) -> anyhow::Result<Journal> {
        let configs = PACKAGES.map(|(_, path)| path);
        for path in [ACL, CERTIFICATE, KEY, KEEP].into_iter().chain(configs) {
            if !journal.before.contains_key(path) {
                journal.before.insert(path.to_owned(), self.read(path).await?);
            }
        }
        for path in configs {
            ensure!(journal.before.get(path).is_some_and(Option::is_some), "{path} is not on the router");
        }
        Ok(journal)
    }

    /// A file, if it is there.
    pub async fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let answer = self.client.call("file", "read", json!({"path": path, "base64": true})).await;
        match answer {
            Ok(answer) => {
                let data = answer.as_ref().and_then(|answer| answer.get("data")).and_then(Value::as_str);
                let data = data.and_then(|data| BASE64.decode(data.as_bytes()).ok());
                Ok(Some(data.with_context(|| format!("the router's answer on {path} is not as expected"))?))
            }
            Err(error) if error.status() == Some(Status::NotFound) => Ok(None),
            // rpcd tells an empty file like that.
            Err(error) if error.status() == Some(Status::NoData) => Ok(Some(Vec::new())),
            Err(error) => Err(explained(error).context(format!("reading {path}"))),
        }
    }

    /// Writes a file, unless it is so already, and reads it back.
    pub async fn put(&self, path: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
        if self.read(path).await?.as_deref() == Some(content) {
            return Ok(());
        }
        let args = json!({"path": path, "data": BASE64.encode(content), "base64": true, "mode": mode});
        let written = self.client.call("file", "write", args).await;
        written.map_err(|error| explained(error).context(format!("writing {path}")))?;
        ensure!(
            self.read(path).await?.as_deref() == Some(content),
            "{path} is not on the router as it was written: is its flash full?"
        );
        Ok(())
    }

    /// Removes a file. One that is not there is fine.
    pub async fn remove(&self, path: &str) -> anyhow::Result<()> {
        match self.client.call("file", "remove", json!({"path": path})).await {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(Status::NotFound) => Ok(()),
            Err(error) => Err(explained(error).context(format!("removing {path}"))),
        }
    }

    /// Changes the packages with a rollback, and confirms once `probe` succeeds.
    pub async fn change<P, V, F>(&self, lock: &Path, plan: P, mut probe: V) -> anyhow::Result<()>
    where
        P: Fn(&Config) -> anyhow::Result<Vec<Change>>,
        V: FnMut() -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let settings = ubus::Settings { rollback: ROLLBACK, verify: SWITCH, ..ubus::Settings::new(lock) };
        let transaction = Transaction::new(Arc::clone(&self.client), settings)?;
        let packages = packages();
        let mut looked = || {
            let look = probe();
            async move { look.await.map_err(ubus::BoxError::from) }
        };
        // What an earlier run left pending when it was cut off is taken back by the router in time.
        let deadline = Instant::now() + ROLLBACK + PATIENCE;
        loop {
            match transaction.run(&packages, &plan, &mut looked).await {
                Ok(_) => return Ok(()),
                Err(TransactionError::Busy) if Instant::now() < deadline => {
                    tracing::warn!("another change on the router waits for its confirmation; waiting for its end");
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error).context("the router was not switched"),
            }
        }
    }
}

fn packages() -> Vec<PackageName> {
    PACKAGES.map(|(name, _)| crate::render::package_name(name)).to_vec()
}

/// An error with what to do about it, where that is known.
fn explained(error: UbusError) -> anyhow::Error {
    let package = match &error {
        UbusError::Http { status: 404, .. } => "uhttpd-mod-ubus",
        UbusError::Rpc { code: RpcCode::ObjectNotFound, object, .. } if object == "file" => "rpcd-mod-file",
        UbusError::Rpc { code: RpcCode::ObjectNotFound, .. } => "rpcd",
        _ => return anyhow!(error),
    };
    anyhow!(error).context(format!("the router lacks a package: opkg install {package}"))
}
