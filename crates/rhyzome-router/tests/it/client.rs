//! A client that says exactly what it is told to over HTTPS, one connection a request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// The name in the certificates of the tests.
pub const SERVER_NAME: &str = "router.test";

pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn closes(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "connection" && value == "close")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    pub fn new(address: SocketAddr, certificate: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client { address, tls: Arc::new(tls) }
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(String, String)], body: Option<&[u8]>) -> Reply {
        let tcp = TcpStream::connect_timeout(&self.address, Duration::from_secs(10)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(70))).unwrap();
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(&self.tls), name).unwrap(), tcp);
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            head.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        tls.write_all(head.as_bytes()).unwrap();
        tls.write_all(body.unwrap_or_default()).unwrap();
        tls.flush().unwrap();
        read(BufReader::new(tls))
    }

    /// Calls a ubus method and gives back what stands beside `jsonrpc` and `id`.
    pub fn call(&self, sid: &str, object: &str, method: &str, args: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "call", "params": [sid, object, method, args]});
        let reply = self.send("POST", "/ubus", &[], Some(request.to_string().as_bytes())).json();
        match reply.get("result") {
            Some(result) => result.clone(),
            None => reply["error"].clone(),
        }
    }
}

fn read(mut stream: impl BufRead) -> Reply {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    Reply { status, headers, body }
}
