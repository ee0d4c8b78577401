//! A file of services: JSON, read again whenever it changes.
//!
//! `{"services": [{"name": "web", "ports": [{"protocol": "tcp", "port": 443, "to": 8443, "from": ["10.0.0.0/8"], "dns":
//! ["www.example.org"]}], "tags": ["(diplonat (tcp_port 80))"]}]}`; all but the name may be left out.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use tokio::sync::watch;
use types::DomainName;

use super::brake::{Brake, Verdict};
use super::{Reading, doubt, tell};
use crate::exposure::{Exposure, PublicPort, RecordKind, Service, Transport, Wanted, WantedName};
use crate::{chain, tag};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Looks after which a file is read again that has not changed but is not believed.
const LOOKS_BEFORE_SECOND_READING: u32 = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Services {
    services: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    protocol: Transport,
    port: NonZeroU16,
    to: Option<NonZeroU16>,
    #[serde(default)]
    from: BTreeSet<IpNet>,
    #[serde(default)]
    dns: BTreeSet<DomainName>,
}

/// Reads the file once.
pub fn read(path: &Path, leave: &BTreeSet<PublicPort>) -> Result<Wanted, config::ConfigError> {
    let text = config::file::read(path)?;
    let services: Services = config::parse(&text, path)?;
    Ok(Wanted::of(services.services.into_iter().map(Entry::service), leave))
}

/// Follows the file for ever.
pub async fn follow(path: PathBuf, leave: BTreeSet<PublicPort>, readings: watch::Sender<Reading>) {
    let (mut brake, mut seen, mut looks) = (Brake::default(), None, 0);
    loop {
        let stamp = Stamp::of(&path);
        let is_doubted = readings.borrow().trouble.is_some();
        looks += 1;
        if seen != Some(stamp) || (is_doubted && looks >= LOOKS_BEFORE_SECOND_READING) {
            (seen, looks) = (Some(stamp), 0);
            match read(&path, &leave) {
                Ok(wanted) => judge(&mut brake, wanted, &path, &readings),
                Err(error) => doubt(&readings, chain(&error)),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn judge(brake: &mut Brake, wanted: Wanted, path: &Path, readings: &watch::Sender<Reading>) {
    match brake.judge(&wanted) {
        Verdict::Take => tell(readings, wanted),
        Verdict::Doubt { dropped, of } => {
            let path = path.display();
            doubt(readings, format!("{path} drops {dropped} of {of} ports at once; it is read again to be sure"));
        }
    }
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self(metadata.map(|is| (is.ino(), is.size(), is.mtime(), is.mtime_nsec())))
    }
}

impl Entry {
    fn service(self) -> Service {
        let mut service = tag::service(&self.name, self.tags.iter().map(String::as_str));
        if let Ok(ports) = &mut service.ports {
            ports.extend(self.ports.into_iter().map(|port| port.exposure(&self.name)));
        }
        service
    }
}

impl Port {
    fn exposure(self, service: &str) -> Exposure {
        let named = |name| WantedName { kind: RecordKind::A, name };
        Exposure {
            service: service.to_owned(),
            port: PublicPort { transport: self.protocol, number: self.port },
            to: self.to.unwrap_or(self.port),
            from: self.from.iter().map(IpNet::trunc).collect(),
            names: self.dns.into_iter().map(named).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Wanted, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services.json");
        std::fs::write(&path, text).unwrap();
        read(&path, &[].into()).map_err(|error| chain(&error))
    }

    #[test]
    fn ports_and_tags_are_read() {
        let wanted = read_text(
            r#"{"services": [
                {"name": "web", "ports": [{"protocol": "tcp", "port": 443, "to": 8443, "from": ["10.1.1.1/8"],
                                           "dns": ["www.example.org"]}], "tags": ["(diplonat (udp_port 53))"]},
                {"name": "broken", "tags": ["(diplonat (tcp_port no))"]}]}"#,
        )
        .unwrap();
        let ports: Vec<_> = wanted.ports.keys().map(ToString::to_string).collect();
        assert_eq!(ports, ["tcp/443", "udp/53"]);
        let refused: Vec<_> = wanted.refused.iter().map(|refused| refused.service.as_str()).collect();
        assert_eq!(refused, ["broken"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let wrong =
            read_text("{\"services\": [{\"name\": \"web\",\n\"ports\": [{\"protocol\": \"tcp\", \"port\": 0}]}]}");
        let wrong = wrong.unwrap_err();
        assert!(wrong.contains("services.json:2:") && wrong.contains("services[0].ports[0].port"), "{wrong}");
        assert!(read_text(r#"{"service": []}"#).unwrap_err().contains("did you mean \"services\"?"));
    }

    #[tokio::test]
    async fn a_file_is_followed_and_a_broken_one_drops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services.json");
        let (sender, mut readings) = watch::channel(Reading::default());
        let following = tokio::spawn(follow(path.clone(), [].into(), sender));
        let wait = Duration::from_secs(60);
        let troubled = tokio::time::timeout(wait, readings.wait_for(|reading| reading.trouble.is_some())).await;
        assert!(troubled.unwrap().unwrap().wanted.is_none(), "a missing file is unknown, not empty");
        config::file::write_public(&path, br#"{"services": [{"name": "a", "tags": ["(diplonat (tcp_port 1))"]}]}"#)
            .unwrap();
        let good = tokio::time::timeout(wait, readings.wait_for(|reading| reading.trouble.is_none())).await;
        assert_eq!(good.unwrap().unwrap().wanted.as_ref().unwrap().ports.len(), 1);
        config::file::write_public(&path, b"{").unwrap();
        let broken = tokio::time::timeout(wait, readings.wait_for(|reading| reading.trouble.is_some())).await;
        assert_eq!(broken.unwrap().unwrap().wanted.as_ref().unwrap().ports.len(), 1);
        following.abort();
    }
}
