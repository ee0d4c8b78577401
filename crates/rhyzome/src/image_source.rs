//! Where images may be fetched from: https only, every address looked at before it is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, Url};
use serde::Deserialize;

/// How long looking a name up may take, and connecting.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
/// How long a server may say nothing before its answer begins.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Which addresses that are not public images may be fetched from, as the configuration says it: `true` for all, or a
/// list of networks. None unless asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected true, false or a list of networks")]
pub enum PrivateSources {
    /// All of them, or none.
    All(bool),
    /// Those in these networks.
    Networks(Vec<IpNet>),
}

impl Default for PrivateSources {
    fn default() -> Self {
        Self::All(false)
    }
}

impl PrivateSources {
    /// Whether a server of that address may be asked.
    fn admit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || match self {
                Self::All(all) => *all,
                Self::Networks(networks) => networks.iter().any(|network| network.contains(&address)),
            }
    }
}

/// Reads a URL that an image may be fetched from; the error is what a person is told.
pub fn parse(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "expected an https URL")?;
    check(&url)?;
    Ok(url)
}

/// Refuses a URL that no image is fetched from, wherever it came from.
pub fn check(url: &Url) -> Result<(), &'static str> {
    if url.scheme() != "https" {
        return Err("expected an https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("expected a URL without a user and a password");
    }
    if url.host().is_none() {
        return Err("expected a URL that names a host");
    }
    Ok(())
}

/// A URL for logs and reasons: what follows `?` may be a key to the file.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.query().is_some() {
        url.set_query(Some("…"));
    }
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string().replace("%E2%80%A6", "…")
}

/// What is asked for of a file that broke off.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'a> {
    /// From which byte on.
    pub from: u64,
    /// What the file was known by when it began; of another file all is asked for.
    pub validator: &'a HeaderValue,
}

/// Asks one server for a file, or for the rest of it. Its name is resolved once, and only what was looked at is connected to. A redirect is an
/// answer like others. Proxies of the environment are not asked.
pub async fn ask(private: &PrivateSources, url: &Url, rest: Option<Rest<'_>>) -> anyhow::Result<Response> {
    if let Err(expected) = check(url) {
        bail!("{}: {expected}", shown(url));
    }
    let addresses = resolve(url).await?;
    if let Some(refused) = addresses.iter().find(|address| !private.admit(address.ip())) {
        bail!(
            "{} has the address {}, which is not public",
            url.host_str().unwrap_or_default(),
            refused.ip().to_canonical()
        );
    }
    let mut request = client(addresses)?.get(url.clone());
    if let Some(Rest { from, validator }) = rest {
        request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, validator);
    }
    let response = tokio::time::timeout(ANSWER_DEADLINE, request.send())
        .await
        .with_context(|| format!("{} says nothing for {} s", shown(url), ANSWER_DEADLINE.as_secs()))?;
    // The error would repeat the URL with all that follows its `?`.
    response.map_err(reqwest::Error::without_url).with_context(|| format!("{} does not answer", shown(url)))
}

/// All addresses of the URL's host, each of which a connection may go to.
async fn resolve(url: &Url) -> anyhow::Result<Vec<SocketAddr>> {
    let host = url.host_str().context("the URL names no host")?;
    let port = url.port_or_known_default().context("the URL names no port")?;
    // An address in brackets is IPv6; resolvers want it without.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = tokio::time::timeout(CONNECT_DEADLINE, tokio::net::lookup_host((name, port)))
        .await
        .with_context(|| format!("looking up {host} took longer than {} s", CONNECT_DEADLINE.as_secs()))?
        .with_context(|| format!("{host} cannot be looked up"))?
        .collect();
    if addresses.is_empty() {
        bail!("{host} has no address");
    }
    Ok(addresses)
}

fn client(addresses: Vec<SocketAddr>) -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_DEADLINE)
        .dns_resolver(Pinned(addresses))
        .build()
        .context("no HTTPS client")
}

/// Whatever name is asked for, these addresses are the answer: a name server that answers differently the second time
/// is never asked a second time.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(async { Ok(addresses) })
    }
}

/// Whether an address is on the public internet (IANA's registries of special-purpose addresses, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network, loopback, multicast, reserved and broadcast.
        (0 | 127 | 224.., ..) => true,
        // Private (RFC 1918), link-local, shared by carriers' NAT (RFC 6598).
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (169, 254, _) | (100, 64..=127, _) => true,
        // Protocol assignments, relays of 6to4, benchmarks, documentation.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !special
}

/// Of what is not assigned to the internet at large nothing is public, so that NAT64 (64:ff9b::/96), unique local,
/// link-local, multicast and addresses that hold one of IPv4 are not either.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let assigned = segments[0] & 0xe000 == 0x2000;
    let special = match segments {
        // Protocol assignments, among them Teredo and benchmarks, and documentation.
        [0x2001, second, ..] => second < 0x0200 || second == 0x0db8,
        // 6to4, which holds an address of IPv4.
        [0x2002, ..] => true,
        // Documentation.
        [0x3fff, second, ..] => second < 0x1000,
        _ => false,
    };
    assigned && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::10.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b::9.9.9.9",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:0a00:0001::1",
            "2002:7f00:0001::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!PrivateSources::default().admit(address(private)), "{private}");
            assert!(PrivateSources::All(true).admit(address(private)), "{private}");
        }
        for public in
            ["9.9.9.9", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2620:fe::fe", "2a00::1", "2001:200::1"]
        {
            assert!(PrivateSources::default().admit(address(public)), "{public}");
        }
        assert!(PrivateSources::default().admit(address("::ffff:9.9.9.9")), "the same server as 9.9.9.9");
    }

    #[test]
    fn a_list_admits_what_is_in_it_and_no_more() {
        let private: PrivateSources = serde_json::from_str(r#"["10.1.0.0/16", "fd00:1::/32"]"#).unwrap();
        for (text, admitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00:1::5", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("fd00:2::5", false),
            ("9.9.9.9", true),
        ] {
            assert_eq!(private.admit(address(text)), admitted, "{text}");
        }
        assert!(serde_json::from_str::<PrivateSources>("true").is_ok());
        assert!(serde_json::from_str::<PrivateSources>(r#""10.0.0.0/8""#).is_err());
        assert!(serde_json::from_str::<PrivateSources>(r#"["somewhere"]"#).is_err());
    }

    #[test]
    fn a_url_is_https_and_holds_no_credentials() {
        for (url, expected) in [
            ("http://example.org/a", "https"),
            ("file:///etc/passwd", "https"),
            ("ftp://example.org/a", "https"),
            ("nonsense", "https"),
            ("https://", "https"),
            ("https://user@example.org/a", "without a user"),
            ("https://:word@example.org/a", "without a user"),
            ("https://user:word@example.org/a", "without a user"),
        ] {
            let told = parse(url).unwrap_err();
            assert!(told.contains(expected), "{url}: {told}");
        }
        assert!(parse("https://example.org/a.qcow2?key=1").is_ok());
    }

    #[test]
    fn odd_spellings_of_addresses_are_seen_through() {
        for url in ["https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/"] {
            assert_eq!(parse(url).unwrap().host_str(), Some("127.0.0.1"), "{url}");
        }
    }

    #[test]
    fn what_is_shown_holds_no_key() {
        let url = Url::parse("https://user:word@example.org/a.qcow2?signature=secret#part").unwrap();
        assert_eq!(shown(&url), "https://example.org/a.qcow2?…");
        assert_eq!(shown(&Url::parse("https://example.org/a").unwrap()), "https://example.org/a");
    }

    #[tokio::test]
    async fn a_pinned_client_asks_no_name_server() {
        pki::install_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // No name server knows a name below `invalid` (RFC 6761); a connection proves that none was asked.
        let url = format!("https://rebinding.invalid:{}/", address.port());
        let asked = tokio::spawn(client(vec![address]).unwrap().get(url).send());
        listener.accept().await.unwrap();
        asked.abort();
    }
}
