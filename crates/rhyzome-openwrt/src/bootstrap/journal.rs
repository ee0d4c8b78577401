//! What was there before, and what was made by chance: written before anything changes, for whoever finishes or undoes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use data_encoding::BASE64;
use pki::Fingerprint;
use serde::Deserialize;
use serde_json::json;
use types::SecretText;

const FILE: &str = "bootstrap.json";

/// The journal. It holds secrets, and so nothing prints it.
pub struct Journal {
    /// The router.
    pub url: String,
    /// The certificate that the router had.
    pub pin: Fingerprint,
    /// The login's password.
    pub password: SecretText,
    /// Its hash.
    pub hash: String,
    /// The certificate of our CA, in PEM.
    pub certificate: String,
    /// Its key, in PEM.
    pub key: SecretText,
    /// The files as they were, nothing for one that was not there.
    pub before: BTreeMap<String, Option<Vec<u8>>>,
}

/// The file's form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    pin: String,
    password: String,
    hash: String,
    certificate: String,
    key: String,
    before: BTreeMap<String, Option<String>>,
}

impl Journal {
    /// Where it lies.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Reads it, if there is one.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let text = config::file::read_secret(&path)?;
        let bad = || format!("{} is damaged; expected a journal of bootstrap", path.display());
        let written: Written = serde_json::from_str(text.reveal()).with_context(bad)?;
        let decode = |(path, content): (String, Option<String>)| {
            let content = content.map(|content| BASE64.decode(content.as_bytes())).transpose();
            Ok((path, content?))
        };
        let before = written.before.into_iter().map(decode).collect::<Result<_, data_encoding::DecodeError>>();
        Ok(Some(Self {
            url: written.url,
            pin: written.pin.parse().map_err(|error: String| anyhow!(error)).with_context(bad)?,
            password: SecretText::new(written.password),
            hash: written.hash,
            certificate: written.certificate,
            key: SecretText::new(written.key),
            before: before.with_context(bad)?,
        }))
    }

    /// Writes it, for its owner alone.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let before: BTreeMap<_, _> =
            self.before.iter().map(|(path, content)| (path, content.as_ref().map(|c| BASE64.encode(c)))).collect();
        let text = json!({
            "url": self.url,
            "pin": self.pin.to_string(),
            "password": self.password.reveal(),
            "hash": self.hash,
            "certificate": self.certificate,
            "key": self.key.reveal(),
            "before": before,
        });
        Ok(config::file::write_private(&Self::path(folder), text.to_string().as_bytes())?)
    }
}
