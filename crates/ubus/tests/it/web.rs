//! A web server over TLS that answers as told.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// What the server does with a request.
pub enum Answer {
    /// Answers with these bytes, head and all.
    Bytes(Vec<u8>),
    /// Answers nothing and keeps the connection.
    Hang,
    /// Closes the connection.
    Close,
}

impl Answer {
    /// 200 with a body.
    pub fn body(body: impl AsRef<str>) -> Self {
        let body = body.as_ref();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::Bytes(format!("{head}{body}").into_bytes())
    }

    /// Another status, with no body.
    pub fn status(line: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    }
}

pub struct Server {
    pub url: String,
    certificate: CertificateDer<'static>,
    /// The requests so far.
    pub requests: mpsc::UnboundedReceiver<Value>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves on a free port of the loopback.
    pub async fn start(answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let certificate = cert.der().clone();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://localhost:{}/ubus", listener.local_addr().unwrap().port());
        let (sender, requests) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, sender, answer) = (acceptor.clone(), sender.clone(), Arc::clone(&answer));
                connections.spawn(async move {
                    let _broken = serve(stream, acceptor, &*answer, sender).await;
                });
            }
        });
        Self { url, certificate, requests, _tasks: tasks }
    }

    /// A TLS configuration that trusts this server and no other.
    pub fn trusted(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    }
}

/// A TLS configuration that trusts nobody.
pub fn distrustful() -> ClientConfig {
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    answer: &(impl Fn(&Value) -> Answer + Send + Sync),
    requests: mpsc::UnboundedSender<Value>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let request: Value = serde_json::from_slice(&body).unwrap();
        let answer = answer(&request);
        let _nobody_asks = requests.send(request);
        match answer {
            Answer::Bytes(bytes) => stream.write_all(&bytes).await?,
            Answer::Hang => tokio::time::sleep(Duration::from_secs(600)).await,
            Answer::Close => return Ok(()),
        }
        stream.flush().await?;
    }
}
