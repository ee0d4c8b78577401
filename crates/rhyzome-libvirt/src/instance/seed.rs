//! The NoCloud seed: what a guest learns when it starts, on an ISO with volume id `cidata`.
//!
//! cloud-init reads meta-data, user-data and vendor-data. Guests without it find the same facts in plain files in the
//! folder `rhyzome`: hostname, domain, authorized_keys, host_key. Both kinds answer with a line on the second serial
//! port ([`super::guest_report`]).

use std::fmt::Write;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use jobs::{SecretField, desired};
use serde_json::json;
use sha2::{Digest, Sha256};
use types::{SecretText, Sha256Digest};

use crate::failure::Failure;
use crate::program::run;
use crate::storage::InstanceFiles;

/// What the guest runs at every start once it is up.
const REPORT_SCRIPT: &str = include_str!("seed/report.sh");
/// Where cloud-init looks for what runs at every start.
const EVERY_BOOT: &str = "/var/lib/cloud/scripts/per-boot/rhyzome-report";

/// The files of a seed; they hold secrets.
pub struct Seed {
    files: Vec<(&'static str, SecretText)>,
}

impl Seed {
    /// The seed of an instance.
    pub fn of(instance: &desired::Instance) -> Result<Self, Failure> {
        let host_key = value(&instance.host_key, "host_key")?;
        let user_data = match &instance.user_data {
            Some(field) => value(field, "user_data")?,
            None => "#cloud-config\n{}\n",
        };
        let authorized: Vec<String> = instance.ssh_keys.iter().map(ToString::to_string).collect();
        let fqdn = format!("{}.{}", instance.hostname, instance.domain);
        // YAML is a superset of JSON, so that a JSON writer is the typed writer of both.
        let meta_data = json!({
            "instance-id": instance.id,
            "local-hostname": fqdn,
            "public-keys": authorized,
        });
        let cloud_config = json!({
            "hostname": instance.hostname,
            "fqdn": fqdn,
            "manage_etc_hosts": true,
            "ssh_deletekeys": true,
            "ssh_keys": { "ed25519_private": host_key },
            "ssh_pwauth": false,
            "disable_root": false,
        });
        let lines = |lines: &[String]| lines.iter().fold(String::new(), |text, line| text + line + "\n");
        let files = vec![
            ("meta-data", format!("{meta_data:#}\n")),
            ("user-data", user_data.to_owned()),
            ("vendor-data", vendor_data(&format!("#cloud-config\n{cloud_config:#}\n"))),
            ("rhyzome/hostname", format!("{}\n", instance.hostname)),
            ("rhyzome/domain", format!("{}\n", instance.domain)),
            ("rhyzome/authorized_keys", lines(&authorized)),
            ("rhyzome/host_key", host_key.to_owned()),
        ];
        Ok(Self { files: files.into_iter().map(|(path, text)| (path, SecretText::new(text))).collect() })
    }

    /// Changes when any file does.
    pub fn digest(&self) -> Sha256Digest {
        let mut digest = Sha256::new();
        for (path, content) in &self.files {
            for part in [path, content.reveal()] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        Sha256Digest::from_bytes(digest.finalize().into())
    }

    /// Writes the ISO.
    pub async fn write(&self, files: &InstanceFiles) -> anyhow::Result<()> {
        let (tree, part) = (files.unfinished("seed-tree"), files.unfinished("seed"));
        remove_tree(&tree)?;
        self.lay_out(&tree).with_context(|| format!("cannot write the seed's files to {}", tree.display()))?;
        let options = ["-quiet", "-volid", "cidata", "-joliet", "-rational-rock", "-output"].map(Path::new);
        let made = run("genisoimage", options.into_iter().chain([part.as_path(), &tree])).await;
        remove_tree(&tree)?;
        made?;
        fs::rename(&part, files.seed()).with_context(|| format!("cannot put the seed at {}", files.seed().display()))
    }

    fn lay_out(&self, tree: &Path) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(tree.join("rhyzome"))?;
        for (path, content) in &self.files {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(tree.join(path))?;
            file.write_all(content.reveal().as_bytes())?;
        }
        Ok(())
    }
}

fn value<'a>(field: &'a SecretField, name: &str) -> Result<&'a str, Failure> {
    field
        .value()
        .map(SecretText::reveal)
        .ok_or_else(|| Failure::Refused(format!("{name}: the secret did not come along")))
}

/// Vendor data of two parts, so that what users give replaces neither the report nor their own lists.
fn vendor_data(cloud_config: &str) -> String {
    const BOUNDARY: &str = "rhyzome-part";
    let hook = format!(
        "#cloud-boothook\n#!/bin/sh\ncat >{EVERY_BOOT} <<'END-OF-REPORT'\n{REPORT_SCRIPT}END-OF-REPORT\nchmod 0755 {EVERY_BOOT}\n"
    );
    let mut text = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n");
    for (kind, part) in [("text/cloud-config", cloud_config), ("text/cloud-boothook", hook.as_str())] {
        let _ = write!(text, "\n--{BOUNDARY}\nContent-Type: {kind}; charset=\"utf-8\"\n\n{part}");
    }
    let _ = write!(text, "\n--{BOUNDARY}--\n");
    text
}

fn remove_tree(tree: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(tree) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", tree.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::example;

    #[test]
    fn the_seed_says_who_the_guest_is() {
        let seed = Seed::of(&example::instance()).unwrap();
        let text =
            seed.files.iter().map(|(path, content)| format!("== {path}\n{}", content.reveal())).collect::<String>();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_change_of_any_file_is_noticed() {
        let before = Seed::of(&example::instance()).unwrap().digest();
        assert_eq!(Seed::of(&example::instance()).unwrap().digest(), before);
        let mut changed = example::instance();
        changed.ssh_keys.clear();
        assert_ne!(Seed::of(&changed).unwrap().digest(), before);
    }

    #[tokio::test]
    async fn the_iso_has_the_volume_id_that_guests_look_for() {
        let dir = tempfile::tempdir().unwrap();
        let files = crate::storage::Storage::open(dir.path()).unwrap().instance(example::instance().id);
        files.make_dir().unwrap();
        Seed::of(&example::instance()).unwrap().write(&files).await.unwrap();
        let iso = fs::read(files.seed()).unwrap();
        assert_eq!(&iso[16 * 2048 + 40..][..6], b"cidata");
        assert!(iso.windows(4).any(|window| window == b"hush"), "the host key is on it");
        assert_eq!(fs::read_dir(files.dir()).unwrap().count(), 1, "no secret is left beside it");
    }
}
