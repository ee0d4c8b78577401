//! The way back: first the switch, with a rollback like on the way there; then the files, byte for byte.

use anyhow::Context;
use uci::{Change, Config, Package};

use super::device::{Device, Trust};
use super::journal::Journal;
use super::{ACL, CERTIFICATE, KEEP, KEY, LOGIN, Order, PACKAGES, ROOT_ACL, UHTTPD, owned, remedy};
use crate::render::package_name;

/// Undoes; tells what was left as it is because somebody else changed it since.
pub(super) async fn run(order: &Order, journal: &Journal) -> anyhow::Result<Vec<String>> {
    let own = pki::show(&journal.certificate)?.fingerprint;
    let device = Device::open(&order.address, &Trust::Pins(vec![journal.pin, own]), "root", &order.password)?;
    device.check(ROOT_ACL).await.with_context(|| remedy(&order.address))?;
    let probe = || async {
        let device = Device::open(&order.address, &Trust::Pins(vec![journal.pin]), "root", &order.password)?;
        device.check(ROOT_ACL).await
    };
    device.change(&order.lock, |config| back(config, journal), probe).await?;
    tracing::info!("the router shows the certificate that it had");

    let mut left = Vec::new();
    for (name, path) in PACKAGES {
        let before = original(journal, name, path)?;
        let now = device.read(path).await?.unwrap_or_default();
        let now = Package::parse(package_name(name), &String::from_utf8_lossy(&now));
        // libuci drops comments when it writes: the bytes come back only where they say what is there.
        match now.is_ok_and(|now| now.canonical() == before.canonical()) {
            true => device.put(path, bytes(journal, path)?, 0o600).await?,
            false => left.push(format!("{path}: somebody changed it since, so that only our sections are undone")),
        }
    }
    for path in [ACL, CERTIFICATE, KEY, KEEP] {
        match journal.before.get(path) {
            Some(Some(before)) => device.put(path, before, if path == KEY { 0o600 } else { 0o644 }).await?,
            Some(None) | None => device.remove(path).await?,
        }
    }
    tracing::info!("the router is as it was");
    let written = ["router-password", "router-ca.pem", crate::configuration::FILE_NAME];
    for name in written.into_iter().map(|name| order.folder.join(name)).chain([Journal::path(&order.folder)]) {
        config::file::remove(&name)?;
    }
    Ok(left)
}

fn bytes<'a>(journal: &'a Journal, path: &str) -> anyhow::Result<&'a [u8]> {
    let before = journal.before.get(path).and_then(Option::as_deref);
    before.with_context(|| format!("the journal has no {path}"))
}

fn original(journal: &Journal, name: &str, path: &str) -> anyhow::Result<Package> {
    let text = String::from_utf8_lossy(bytes(journal, path)?);
    Package::parse(package_name(name), &text).with_context(|| path.to_owned())
}

/// Our sections as they were.
fn back(config: &Config, journal: &Journal) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for (name, path) in PACKAGES {
        let (before, now) =
            (original(journal, name, path)?, config.get(name).context("the router has no such package")?);
        let mut wanted = now.clone();
        match name {
            "uhttpd" => {
                let (Some(was), Some(main)) = (before.section(UHTTPD), wanted.section_mut(UHTTPD)) else { continue };
                for option in ["cert", "key"] {
                    match was.get(option) {
                        Some(value) => main.set(option, value.clone())?,
                        None if main.get(option).is_some() => drop(main.delete(option)?),
                        None => {}
                    }
                }
                changes.extend(owned(now, &wanted, UHTTPD)?);
            }
            _ => changes.extend(owned(now, &before, LOGIN)?),
        }
    }
    Ok(changes)
}
