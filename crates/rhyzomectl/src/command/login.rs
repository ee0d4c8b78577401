//! `rhyzomectl login`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api::{ClientError, Network};
use clap::Args;
use types::{ResourceName, SecretText};

use crate::home::Home;
use crate::output::say;
use crate::session::connect;
use crate::settings::{self, Settings};

/// Remember a server and how to sign in there. The token is tried before anything is written.
#[derive(Args, Debug)]
pub struct Login {
    /// The server, as in https://rhyzome.example.org:7443
    #[arg(long)]
    url: String,
    /// The file with the server's CA, as its administrator gave it
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The file with the API token, or - for stdin
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// A name for it, to know several servers; use it with --config
    #[arg(long, value_name = "NAME")]
    name: Option<ResourceName>,
}

impl Login {
    /// Tries the token, and writes the configuration.
    pub async fn run(self) -> anyhow::Result<()> {
        let url = self.url.trim_end_matches('/').to_owned();
        if !url.starts_with("https://") {
            bail!("--url: {url:?} is not the URL of a server (as in https://rhyzome.example.org:7443)");
        }
        let ca = config::file::read(&self.ca).context("--ca")?;
        let token = read_token(&self.token_file)?;
        let client = connect(&url, &ca, SecretText::new(token.reveal().to_owned())).context("--ca")?;
        match client.page::<Network>(None, &[("limit", "1")]).await {
            // Signed in, though not allowed to see networks.
            Err(ClientError::Problem(problem)) if problem.status == 403 => {}
            result => {
                result.with_context(|| format!("{url} does not let you in"))?;
            }
        }
        let home = Home::of_user()?;
        let path = write(&home, self.name.as_ref(), &url, &ca, &token)?;
        say(&format!("logged in to {url}; kept in {}", path.display()));
        if self.name.is_some() {
            say(&format!("use it with --config {0} or RHYZOME_CTL_CONFIG={0}", path.display()));
        }
        Ok(())
    }
}

fn read_token(file: &Path) -> anyhow::Result<SecretText> {
    if file != Path::new("-") {
        return config::file::read_secret(file).context("--token-file");
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).context("--token-file: cannot read stdin")?;
    Ok(SecretText::new(text.trim_end().to_owned()))
}

/// Writes CA, token and configuration, the configuration last; what else stood in it stays.
fn write(home: &Home, name: Option<&ResourceName>, url: &str, ca: &str, token: &SecretText) -> anyhow::Result<PathBuf> {
    let directory = home.config_directory()?;
    let [file, ca_file, token_file] = match name {
        None => [settings::FILE.to_owned(), "ca.pem".to_owned(), "token".to_owned()],
        Some(name) => [format!("{name}.json"), format!("{name}.ca.pem"), format!("{name}.token")],
    };
    let path = directory.join(file);
    let before = path.exists().then(|| Settings::load(Some(&path), home)).transpose()?;
    config::file::write_private(&directory.join(&ca_file), ca.as_bytes())?;
    config::file::write_private(&directory.join(&token_file), token.reveal().as_bytes())?;
    let settings = Settings {
        url: url.to_owned(),
        ca: ca_file.into(),
        token_file: token_file.into(),
        default_network: before.as_ref().and_then(|before| before.default_network.clone()),
        login_user: before.and_then(|before| before.login_user),
    };
    config::file::write_private(&path, &serde_json::to_vec_pretty(&settings)?)?;
    Ok(path)
}
