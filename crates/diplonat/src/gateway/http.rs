//! HTTP as far as gateways speak it: short, plain, and never believed to be well-behaved.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reqwest::{RequestBuilder, Url, redirect};

/// The longest body that is read.
const LONGEST: usize = 1 << 20;
/// How long a request may take, from the first byte to the last.
const DEADLINE: Duration = Duration::from_secs(5);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; what is not UTF-8 in it is replaced.
    pub body: String,
}

/// A client that speaks from one address, follows no redirects and knows no proxy.
pub fn client(local: Ipv4Addr) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .local_address(IpAddr::V4(local))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(DEADLINE)
        .pool_max_idle_per_host(0)
        .build()
}

/// Sends a request and reads the answer, as far as it may be long.
pub async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let said = |error: reqwest::Error| crate::chain(&error.without_url());
    let mut response = request.send().await.map_err(said)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(said)? {
        if body.len() + chunk.len() > LONGEST {
            return Err(format!("an answer of more than {LONGEST} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A URL of plain HTTP at one of these hosts; others are refused.
pub fn trusted(url: &str, base: Option<&Url>, hosts: &[Ipv4Addr]) -> Result<Url, String> {
    let parsed = match base {
        Some(base) => base.join(url),
        None => Url::parse(url),
    };
    let url = parsed.map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let host = url.host_str().and_then(|host| host.parse::<Ipv4Addr>().ok());
    match host.is_some_and(|host| hosts.contains(&host)) && url.scheme() == "http" {
        true => Ok(url),
        false => Err(format!("{url} is not at the gateway, and so not believed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateway_is_believed() {
        let hosts = [Ipv4Addr::new(192, 168, 1, 1)];
        let base = trusted("http://192.168.1.1:5000/desc.xml", None, &hosts).unwrap();
        assert_eq!(trusted("/control", Some(&base), &hosts).unwrap().as_str(), "http://192.168.1.1:5000/control");
        for bad in
            ["http://192.168.1.2/", "https://192.168.1.1/", "file:///etc/passwd", "http://example.org/", "//10.0.0.1/x"]
        {
            assert!(trusted(bad, Some(&base), &hosts).is_err(), "{bad}");
        }
    }
}
