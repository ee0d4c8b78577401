//! Consul's HTTP API, as far as blocking queries go.

use std::net::SocketAddr;
use std::time::Duration;

use config::FileError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Identity, StatusCode, Url};
use serde::de::DeserializeOwned;
use types::SecretText;
use zeroize::Zeroizing;

use crate::settings::ConsulSettings;
use crate::settings::environment::TOKEN;

/// Where Consul is, where nothing else is said.
const URL: &str = "http://127.0.0.1:8500";
/// How long Consul may hold a question back; it adds up to a sixteenth of its own.
const WAIT: Duration = Duration::from_secs(300);
/// What the network may take beyond that.
const SLACK: Duration = Duration::from_secs(15);
/// The longest answer that is read.
const LONGEST: usize = 16 << 20;

/// Why Consul's answer is not known, or not believed.
#[derive(Debug, thiserror::Error)]
pub enum ConsulError {
    /// A file that is named in the settings.
    #[error(transparent)]
    File(#[from] FileError),
    /// The settings make no client.
    #[error("consul.{field}: {problem}")]
    Settings {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It does not answer.
    #[error("Consul does not answer")]
    Silent(#[source] reqwest::Error),
    /// It refuses.
    #[error("Consul says {status}: {said}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it said.
        said: String,
    },
    /// The ACL token hides something.
    #[error("Consul shows only a part (X-Consul-Results-Filtered-By-ACLs); the token needs node and service read")]
    Filtered,
    /// It does not know its leader.
    #[error("Consul has no leader, and may tell what is old")]
    NoLeader,
    /// The answer is too long.
    #[error("Consul's answer has more than {LONGEST} bytes")]
    TooLong,
    /// The answer cannot be read.
    #[error("Consul's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// It does not know the node.
    #[error("Consul does not know the node {0:?}")]
    UnknownNode(String),
}

/// A question that is asked again and again, and the index of its last answer.
#[derive(Clone, Debug)]
pub struct Query {
    path: Vec<String>,
    index: u64,
}

impl Query {
    /// The question for this path.
    pub fn of(path: &[&str]) -> Self {
        Self { path: path.iter().map(|part| (*part).to_owned()).collect(), index: 0 }
    }

    /// Asks for the state as it is the next time, without waiting for a change.
    pub fn forget(&mut self) {
        self.index = 0;
    }

    /// Takes over the index of an answer: one that went back, or is none, starts again.
    fn take(&mut self, index: Option<u64>) {
        let index = index.unwrap_or_default();
        self.index = if index < self.index { 0 } else { index };
    }
}

/// Consul.
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<SecretText>,
}

impl Client {
    /// The client for these settings. Files are read, and nothing is asked.
    pub fn of(settings: &ConsulSettings) -> Result<Self, ConsulError> {
        let wrong = |field, problem: String| ConsulError::Settings { field, problem };
        let text = settings.url.as_deref().unwrap_or(URL);
        // Consul's own variable leaves the scheme out.
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let mut url = Url::parse(&text).map_err(|error| wrong("url", format!("{text:?}: {error}")))?;
        if !["http", "https"].contains(&url.scheme()) || url.cannot_be_a_base() {
            return Err(wrong("url", format!("{text:?}: expected http:// or https://")));
        }
        let mut http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let roots = roots(settings)?;
        if !roots.is_empty() {
            http = http.tls_certs_only(roots);
        }
        match (&settings.cert, &settings.key) {
            (Some(cert), Some(key)) => {
                let mut pem = Zeroizing::new(config::file::read(cert)?);
                pem.push('\n');
                pem.push_str(config::file::read_secret(key)?.reveal());
                let read = Identity::from_pem(pem.as_bytes());
                http = http.identity(read.map_err(|error| wrong("cert", crate::chain(&error)))?);
            }
            (None, None) => {}
            (Some(_), None) => return Err(wrong("key", "is missing, while cert is given".into())),
            (None, Some(_)) => return Err(wrong("cert", "is missing, while key is given".into())),
        }
        if settings.tls_skip_verify {
            http = http.danger_accept_invalid_certs(true);
        }
        if let Some(name) = &settings.server_name {
            let host = url.host_str().unwrap_or_default().to_owned();
            http = http.dns_resolver(Elsewhere(host));
            url.set_host(Some(name)).map_err(|error| wrong("server_name", format!("{name:?}: {error}")))?;
        }
        let token = match settings.token_file.as_deref() {
            Some(file) => Some(config::file::read_secret(file)?),
            None if settings.is_token_in_environment => std::env::var(TOKEN).ok().map(SecretText::new),
            None => None,
        };
        let http = http.build().map_err(|error| wrong("url", crate::chain(&error)))?;
        Ok(Self { http, url, token })
    }

    /// Asks, and waits for an answer that is newer than the last.
    pub async fn ask<T: DeserializeOwned>(&self, query: &mut Query) -> Result<T, ConsulError> {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&query.path);
        }
        let mut deadline = SLACK;
        if query.index > 0 {
            url.query_pairs_mut()
                .append_pair("index", &query.index.to_string())
                .append_pair("wait", &format!("{}s", WAIT.as_secs()));
            deadline = WAIT * 17 / 16 + SLACK;
        }
        let mut request = self.http.get(url).timeout(deadline);
        if let Some(token) = &self.token {
            request = request.header("X-Consul-Token", token.reveal());
        }
        let silent = |error: reqwest::Error| ConsulError::Silent(error.without_url());
        let mut response = request.send().await.map_err(silent)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(ConsulError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
            return Err(ConsulError::Refused { status, said });
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if header("X-Consul-Results-Filtered-By-ACLs") == Some("true") {
            return Err(ConsulError::Filtered);
        }
        if header("X-Consul-KnownLeader") == Some("false") {
            return Err(ConsulError::NoLeader);
        }
        let answer = serde_json::from_slice(&body).map_err(ConsulError::Unreadable)?;
        query.take(header("X-Consul-Index").and_then(|index| index.parse().ok()));
        Ok(answer)
    }
}

/// The CAs that are believed; the system's where there are none.
fn roots(settings: &ConsulSettings) -> Result<Vec<Certificate>, ConsulError> {
    let mut files: Vec<_> = settings.ca.iter().cloned().collect();
    if let Some(directory) = &settings.ca_directory {
        let wrong = |error: std::io::Error| ConsulError::Settings {
            field: "ca_directory",
            problem: format!("{}: {error}", directory.display()),
        };
        for entry in std::fs::read_dir(directory).map_err(wrong)? {
            files.push(entry.map_err(wrong)?.path());
        }
    }
    let mut roots = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let read = Certificate::from_pem_bundle(config::file::read(file)?.as_bytes());
        let wrong = |error| ConsulError::Settings {
            field: "ca",
            problem: format!("{}: {}", file.display(), crate::chain(&error)),
        };
        roots.extend(read.map_err(wrong)?);
    }
    Ok(roots)
}

/// Leads every name to one host: the server is called by the name in its certificate, and is somewhere else.
struct Elsewhere(String);

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_back_starts_again() {
        let mut query = Query::of(&["v1"]);
        query.take(Some(7));
        assert_eq!(query.index, 7);
        query.take(Some(6));
        assert_eq!(query.index, 0);
        query.take(None);
        assert_eq!(query.index, 0);
    }

    #[test]
    fn what_is_wrong_in_the_settings_is_named() {
        let complaint = |settings: ConsulSettings| Client::of(&settings).err().map(|error| error.to_string());
        let wrong = complaint(ConsulSettings { url: Some("ftp://consul".into()), ..Default::default() });
        assert_eq!(wrong.as_deref(), Some("consul.url: \"ftp://consul\": expected http:// or https://"));
        let wrong = complaint(ConsulSettings { cert: Some("/a".into()), ..Default::default() });
        assert_eq!(wrong.as_deref(), Some("consul.key: is missing, while cert is given"));
    }
}
