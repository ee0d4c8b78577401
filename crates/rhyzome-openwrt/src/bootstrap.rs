//! Taking a fresh router into service: from its self-signed certificate to one of our CA, with a login that may do just
//! what the agent needs. And back.
//!
//! What was there is kept in a journal before anything changes. The one step that could lock somebody out, uhttpd's
//! change of certificate, is a UCI transaction with a rollback: it is confirmed only after a new connection that trusts
//! our CA alone has logged in with the new login. Cut off anywhere, the same command again finishes.

mod address;
pub mod command;
mod device;
mod hash;
mod journal;
mod prompt;
mod undo;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use pki::{Authority, CertificateFacts, Fingerprint, Roots, SERVER_DAYS, ServerName};
use serde_json::json;
use time::OffsetDateTime;
use types::SecretText;
use uci::{Change, Config, DiffError, Package, diff_owned};

use crate::acl;
pub use address::Address;
use device::{Device, Trust};
use journal::Journal;

/// The user of rpcd, and the section of its login.
pub const LOGIN: &str = "rhyzome";
/// The section of uhttpd that serves ubus.
const UHTTPD: &str = "main";
/// Where the files lie on the router.
const ACL: &str = "/usr/share/rpcd/acl.d/rhyzome.json";
const CERTIFICATE: &str = "/etc/rhyzome-uhttpd.crt";
const KEY: &str = "/etc/rhyzome-uhttpd.key";
/// What a system upgrade keeps beside the configuration.
const KEEP: &str = "/lib/upgrade/keep.d/rhyzome";
/// The packages whose sections change, and their files.
const PACKAGES: [(&str, &str); 2] = [("rpcd", "/etc/config/rpcd"), ("uhttpd", "/etc/config/uhttpd")];
/// How long the switch may take to be seen; uhttpd starts anew for it.
const SWITCH: Duration = Duration::from_secs(40);
/// The router takes the switch back after this.
const ROLLBACK: Duration = Duration::from_secs(60);

/// The rights that root needs for all this, as a file for `/usr/share/rpcd/acl.d/`: LuCI's own do not reach.
pub const ROOT_ACL: &str = include_str!("../acl/bootstrap.json");

/// Everything that is touched on a router.
pub fn touched() -> Vec<String> {
    vec![
        format!("file {ACL}: the access list of the login"),
        format!("file {CERTIFICATE}: the certificate of our CA"),
        format!("file {KEY}: its private key, mode 0600"),
        format!("file {KEEP}: keeps these files over a system upgrade"),
        format!("section rpcd.{LOGIN}: the login, with the hash of a random password"),
        format!("section uhttpd.{UHTTPD}: options cert and key"),
    ]
}

/// What is asked for.
pub struct Order {
    /// The router.
    pub address: Address,
    /// The folder of our configuration: the journal, the password and the agent's configuration go there.
    pub folder: PathBuf,
    /// The file that all our programs on this machine lock while they change the router.
    pub lock: PathBuf,
    /// The password of root.
    pub password: SecretText,
}

/// The certificate that the router shows.
pub async fn shown(address: &Address) -> anyhow::Result<CertificateFacts> {
    let certificate = device::look(address).await?;
    Ok(CertificateFacts::of(&certificate)?)
}

/// The fingerprint that an earlier run pinned, where there was one that did not come to its end or that can be undone.
pub fn pinned(folder: &Path, address: &Address) -> anyhow::Result<Option<Fingerprint>> {
    let Some(journal) = Journal::read(folder)? else { return Ok(None) };
    ensure!(
        journal.url == address.url(),
        "{}: it is about {}; expected {}: name another --folder",
        Journal::path(folder).display(),
        journal.url,
        address.url()
    );
    Ok(Some(journal.pin))
}

/// Takes the router with the certificate of this fingerprint into service.
pub async fn run(order: &Order, pin: Fingerprint, authority: &Authority) -> anyhow::Result<()> {
    let journal = match Journal::read(&order.folder)? {
        Some(journal) => journal,
        None => draft(order, pin, authority)?,
    };
    check_local(order, &journal)?;
    let own = pki::show(&journal.certificate)?.fingerprint;
    let device = Device::open(&order.address, &Trust::Pins(vec![journal.pin, own]), "root", &order.password)?;
    device.check(ROOT_ACL).await.with_context(|| remedy(&order.address))?;

    let journal = device.complete(journal).await?;
    journal.write(&order.folder)?;
    tracing::info!(journal = %Journal::path(&order.folder).display(), "what was there is kept");

    device.put(ACL, acl::FILE.as_bytes(), 0o644).await?;
    device.put(CERTIFICATE, journal.certificate.as_bytes(), 0o644).await?;
    device.put(KEY, journal.key.reveal().as_bytes(), 0o600).await?;
    device.put(KEEP, [ACL, CERTIFICATE, KEY, KEEP, ""].join("\n").as_bytes(), 0o644).await?;
    tracing::info!("access list, certificate and key are on the router");

    let roots = authority.roots()?;
    let change = |config: &Config| switch(config, &journal);
    device.change(&order.lock, change, || probe(&order.address, &roots, &journal)).await?;
    tracing::info!("the router shows our certificate and takes the login");

    write_local(order, &journal, authority)
}

/// Takes back what [`run`] changed on the router and here.
pub async fn undo(order: &Order) -> anyhow::Result<Vec<String>> {
    let journal = Journal::read(&order.folder)?;
    let journal = journal.with_context(|| format!("there is no {}", Journal::path(&order.folder).display()))?;
    undo::run(order, &journal).await
}

fn remedy(address: &Address) -> String {
    format!(
        "root's session may not do what this takes; once, over SSH: rhyzome-openwrt bootstrap --access-list | ssh \
         root@{} 'cat > /usr/share/rpcd/acl.d/rhyzome-bootstrap.json'",
        address.host()
    )
}

/// A journal with everything in it that is made by chance.
fn draft(order: &Order, pin: Fingerprint, authority: &Authority) -> anyhow::Result<Journal> {
    let name = ServerName::try_from(order.address.host().to_owned())?;
    let issued = authority.issue_server(&[name], OffsetDateTime::now_utc(), SERVER_DAYS)?;
    let password = hash::random_password()?;
    let hash = hash::crypt(&password)?;
    Ok(Journal {
        url: order.address.url(),
        pin,
        password,
        hash,
        certificate: issued.certificate_pem,
        key: issued.key_pem,
        before: Default::default(),
    })
}

/// The login and the certificate, on top of what is there.
fn switch(config: &Config, journal: &Journal) -> anyhow::Result<Vec<Change>> {
    let found = |name: &str| config.get(name).with_context(|| format!("the router has no package {name}"));
    let (rpcd, uhttpd) = (found("rpcd")?, found("uhttpd")?);
    let mut wanted = rpcd.clone();
    if wanted.section(LOGIN).is_some() {
        wanted.delete(LOGIN)?;
    }
    let login = wanted.add("login", LOGIN)?;
    login.set("username", LOGIN)?;
    login.set("password", journal.hash.as_str())?;
    login.set("read", vec![acl::GROUP.to_owned()])?;
    login.set("write", vec![acl::GROUP.to_owned()])?;
    let mut changes = owned(rpcd, &wanted, LOGIN)?;

    let mut wanted = uhttpd.clone();
    let Some(main) = wanted.section_mut(UHTTPD) else {
        bail!("uhttpd on the router has no section {UHTTPD}; expected the one that it comes with");
    };
    main.set("cert", CERTIFICATE)?;
    main.set("key", KEY)?;
    changes.extend(owned(uhttpd, &wanted, UHTTPD)?);
    Ok(changes)
}

/// The calls that give one section the state it has in `to`.
fn owned(from: &Package, to: &Package, section: &str) -> Result<Vec<Change>, DiffError> {
    diff_owned(from, to, |other| other.name().as_str() == section)
}

/// A new connection that trusts our CA alone, with the new login and what it may do.
async fn probe(address: &Address, roots: &Roots, journal: &Journal) -> anyhow::Result<()> {
    let device = Device::open(address, &Trust::Ca(roots.clone()), LOGIN, &journal.password)?;
    device.check(acl::FILE).await
}

/// Refuses to write over a configuration of something else.
fn check_local(order: &Order, journal: &Journal) -> anyhow::Result<()> {
    let path = order.folder.join(crate::configuration::FILE_NAME);
    if !path.exists() {
        return Ok(());
    }
    let found: serde_json::Value = serde_json::from_str(&config::file::read(&path)?).unwrap_or_default();
    let same = found["router"]["url"] == journal.url.as_str() && found["router"]["username"] == LOGIN;
    ensure!(same, "{}: it is not about {}; expected no such file, or another --folder", path.display(), journal.url);
    Ok(())
}

fn write_local(order: &Order, journal: &Journal, authority: &Authority) -> anyhow::Result<()> {
    let file = |name: &str| order.folder.join(name);
    config::file::write_public(&file("router-ca.pem"), authority.certificate_pem().as_bytes())?;
    config::file::write_private(&file("router-password"), journal.password.reveal().as_bytes())?;
    let path = file(crate::configuration::FILE_NAME);
    // An operator may have added to it since.
    if !path.exists() {
        let text = serde_json::to_string_pretty(&configuration(order, journal))?;
        config::file::write_private(&path, format!("{text}\n").as_bytes())?;
    }
    tracing::info!(configuration = %path.display(), "the agent's configuration is written");
    Ok(())
}

/// The configuration of an agent for this router.
fn configuration(order: &Order, journal: &Journal) -> serde_json::Value {
    let file = |name: &str| order.folder.join(name);
    json!({
        "agent": {"invitation_file": file("invitation"), "state_dir": file("agent")},
        "router": {
            "url": journal.url,
            "ca": file("router-ca.pem"),
            "username": LOGIN,
            "password_file": file("router-password"),
            "lock_file": order.lock,
        },
        "segments": {"kind": "bridge"},
    })
}
