//! Whom a request is meant for: a server that answers to any name can be reached by any web page whose name was made
//! to point at it (DNS rebinding).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;

use crate::refusal::Refusal;
use crate::serve_config::HttpConfig;

/// The names that the API answers to.
pub struct Names {
    listen: IpAddr,
    public: Vec<String>,
}

impl Names {
    /// Loopback, the address that is listened on, and what the configuration names.
    pub fn new(config: &HttpConfig) -> Self {
        let public = config.names.iter().map(|name| name.as_str().to_owned()).collect();
        Self { listen: config.listen.ip(), public }
    }

    /// Whether this is one of them. A page of another site cannot have an address for its name, so that where all
    /// addresses are listened on, all are taken.
    fn knows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        if self.public.iter().any(|name| name == bare) {
            return true;
        }
        match bare.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address == self.listen || self.listen.is_unspecified(),
            Err(_) => bare == "localhost",
        }
    }

    /// Holds a request's Host (RFC 9110, section 7.2) and Origin (RFC 6454, section 7) against them.
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let header = |name: HeaderName| -> Result<Option<&str>, Refusal> {
            let mut values = request.headers().get_all(&name).iter();
            let first = values.next();
            match (first.map(|value| value.to_str()), values.next()) {
                (None, _) => Ok(None),
                (Some(Ok(text)), None) => Ok(Some(text)),
                _ => Err(Refusal::Malformed(format!("the header {name} must be there once, in ASCII"))),
            }
        };
        let asked = match request.uri().authority() {
            Some(authority) => authority.to_string(),
            None => {
                header(HOST)?.ok_or_else(|| Refusal::Malformed("the header Host is missing".to_owned()))?.to_owned()
            }
        };
        let authority: Authority = asked
            .parse()
            .map_err(|_| Refusal::Malformed(format!("the header Host says {asked:?}, which is no host")))?;
        if asked.contains('@') || !self.knows(authority.host()) {
            return Err(Refusal::Misdirected(asked));
        }
        match header(ORIGIN)? {
            Some(origin) if !is_own(origin, &authority) => Err(Refusal::ForeignOrigin(origin.to_owned())),
            _ => Ok(()),
        }
    }
}

/// Whether a page of this origin came from the host that is asked.
fn is_own(origin: &str, asked: &Authority) -> bool {
    let Some(origin) = origin.strip_prefix("https://").and_then(|rest| rest.parse::<Authority>().ok()) else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(443);
    origin.host().eq_ignore_ascii_case(asked.host()) && port(&origin) == port(asked)
}

/// Refuses what is meant for others, or comes from their pages.
pub async fn check(State(names): State<Arc<Names>>, request: Request, next: Next) -> Result<Response, Refusal> {
    names.check(&request)?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(listen: &str, host: &str, origin: Option<&str>) -> &'static str {
        let names = Names { listen: listen.parse().unwrap(), public: vec!["cloud.example.org".to_owned()] };
        let mut request = Request::builder().uri("/v1/networks").header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        match names.check(&request.body(Body::empty()).unwrap()) {
            Ok(()) => "taken",
            Err(Refusal::Misdirected(_)) => "misdirected",
            Err(Refusal::ForeignOrigin(_)) => "foreign",
            Err(_) => "malformed",
        }
    }

    #[test]
    fn only_own_names_are_answered_to() {
        for (listen, host, expected) in [
            ("192.0.2.7", "192.0.2.7:8443", "taken"),
            ("192.0.2.7", "127.0.0.1:8443", "taken"),
            ("192.0.2.7", "[::1]", "taken"),
            ("192.0.2.7", "LOCALHOST", "taken"),
            ("192.0.2.7", "Cloud.Example.org.:443", "taken"),
            ("192.0.2.7", "192.0.2.8", "misdirected"),
            ("192.0.2.7", "evil.example", "misdirected"),
            ("192.0.2.7", "localhost.evil.example", "misdirected"),
            ("192.0.2.7", "127.0.0.1.evil.example", "misdirected"),
            ("192.0.2.7", "evil@127.0.0.1", "misdirected"),
            ("0.0.0.0", "192.0.2.8", "taken"),
            ("0.0.0.0", "evil.example", "misdirected"),
            ("::", "[2001:db8::1]:8443", "taken"),
            ("192.0.2.7", "no host at all", "malformed"),
            ("192.0.2.7", "", "malformed"),
        ] {
            assert_eq!(asked(listen, host, None), expected, "{host} at {listen}");
        }
    }

    #[test]
    fn pages_of_other_sites_may_not_ask() {
        for (origin, expected) in [
            ("https://cloud.example.org", "taken"),
            ("https://cloud.example.org:443", "taken"),
            ("https://cloud.example.org:8443", "foreign"),
            ("http://cloud.example.org", "foreign"),
            ("https://localhost", "foreign"),
            ("https://evil.example", "foreign"),
            ("null", "foreign"),
        ] {
            assert_eq!(asked("192.0.2.7", "cloud.example.org", Some(origin)), expected, "{origin}");
        }
    }
}
