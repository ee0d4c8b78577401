//! The configuration: which server, and how to sign in.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api::Reference;
use image::tiny::LOGIN_USER;
use serde::{Deserialize, Serialize};
use types::NetworkId;

use crate::home::Home;

/// The file's name, wherever it lies.
pub const FILE: &str = "rhyzomectl.json";
/// Where an administrator puts it, and where `rhyzome up` does.
const SYSTEM: [&str; 2] = ["/etc/rhyzome/rhyzomectl.json", "/var/lib/rhyzome/rhyzomectl.json"];

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The server, as in `https://rhyzome.example.org:7443`.
    pub url: String,
    /// The file with the CA that the server's certificate must come from.
    pub ca: PathBuf,
    /// The file with the API token, readable by its owner alone.
    pub token_file: PathBuf,
    /// The network of instances that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_network: Option<Reference<NetworkId>>,
    /// Whom `ssh` logs in as where it is not told; root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_user: Option<String>,
}

impl Settings {
    /// Reads the file at `explicit`, or the first that there is.
    pub fn load(explicit: Option<&Path>, home: &Home) -> anyhow::Result<Self> {
        if let Some(path) = explicit {
            return read(path)?.with_context(|| format!("there is no {}", path.display()));
        }
        let mut places = vec![home.config_file(FILE)];
        places.extend(SYSTEM.map(PathBuf::from));
        for place in &places {
            if let Some(settings) = read(place)? {
                return Ok(settings);
            }
        }
        let places: Vec<String> = places.iter().map(|place| format!("  {}", place.display())).collect();
        bail!(
            "this machine knows no server; looked for\n{}\nLog in with: rhyzomectl login --url URL --ca FILE \
             --token-file FILE\nor start a server here with: rhyzome up",
            places.join("\n")
        )
    }

    /// Whom `ssh` logs in as where it is not told.
    pub fn login_user(&self) -> &str {
        self.login_user.as_deref().unwrap_or(LOGIN_USER)
    }
}

/// Reads one file, if it is there. Paths in it are relative to it.
fn read(path: &Path) -> anyhow::Result<Option<Settings>> {
    let text = match config::file::read(path) {
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => {
            return Err(error).context("cannot use the configuration (use sudo, or log in with: rhyzomectl login)");
        }
        Ok(text) => text,
    };
    let mut settings: Settings = config::parse(&text, path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    settings.ca = directory.join(&settings.ca);
    settings.token_file = directory.join(&settings.token_file);
    Ok(Some(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        std::fs::write(&path, r#"{"url": "https://a:1", "ca": "ca.pem", "token_file": "/t"}"#).unwrap();
        let settings = Settings::load(Some(&path), &Home::of_user().unwrap()).unwrap();
        assert_eq!(settings.ca, directory.path().join("ca.pem"));
        assert_eq!(settings.token_file, Path::new("/t"));
        assert_eq!(settings.login_user(), "root");
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        std::fs::write(&path, r#"{"url": "https://a:1", "ca": "ca.pem", "token-file": "/t"}"#).unwrap();
        let error = Settings::load(Some(&path), &Home::of_user().unwrap()).unwrap_err().to_string();
        assert!(error.contains("token-file") && error.contains("did you mean \"token_file\""), "{error}");
    }
}
