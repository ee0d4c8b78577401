//! One run of the command: whom it talks to, and how it answers.

use std::path::PathBuf;

use anyhow::Context;
use api::Client;
use types::SecretText;

use crate::home::Home;
use crate::output::Format;
use crate::settings::Settings;

/// A run that talks to a server.
pub struct Session {
    /// The server.
    pub client: Client,
    /// The configuration.
    pub settings: Settings,
    /// How data is printed.
    pub format: Format,
    /// The user's own things.
    pub home: Home,
}

impl Session {
    /// Reads the configuration and makes ready to talk to the server that it names.
    pub fn open(config: Option<&PathBuf>, format: Format) -> anyhow::Result<Self> {
        let home = Home::of_user()?;
        let settings = Settings::load(config.map(PathBuf::as_path), &home)?;
        let client = client(&settings)?;
        Ok(Self { client, settings, format, home })
    }
}

/// A client for the server that `settings` name.
fn client(settings: &Settings) -> anyhow::Result<Client> {
    let ca = config::file::read(&settings.ca).context("cannot check the server (ca)")?;
    let token = config::file::read_secret(&settings.token_file).context("cannot sign in (token_file)")?;
    connect(&settings.url, &ca, token).with_context(|| settings.ca.display().to_string())
}

/// A client for the server at `url`, whose certificate must come from `ca`.
pub fn connect(url: &str, ca: &str, token: SecretText) -> anyhow::Result<Client> {
    let tls = pki::client_config(&pki::Roots::from_pem(ca)?, None, pki::Alpn::Http1)?;
    Ok(Client::new(url, token, tls)?)
}
