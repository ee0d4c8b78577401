//! A server of files that behaves as its paths say, with a certificate of a CA of its own, at two loopback addresses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pki::{Alpn, Authority, ClientAuth, KeyedCertificate, TlsAcceptor};
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The address that tests allow, and one that they do not.
const ALLOWED: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";

/// The running server.
pub struct ImageSource {
    port: u16,
    dir: tempfile::TempDir,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    file: Vec<u8>,
    port: u16,
    released: watch::Sender<bool>,
    connections: AtomicUsize,
    open: watch::Sender<usize>,
    /// Paths that were asked for, with what their requests said of ranges.
    asked: Mutex<Vec<(String, String)>>,
}

impl ImageSource {
    /// A server of `file`.
    pub async fn start(file: &[u8]) -> Self {
        pki::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let now = time::OffsetDateTime::now_utc();
        let authority = Authority::init(&dir.path().join("ca"), now).unwrap();
        let names = [ALLOWED, OTHER].map(|name| name.try_into().unwrap());
        let issued = authority.issue_server(&names, now, 1).unwrap();
        let own = KeyedCertificate::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap();
        let acceptor = TlsAcceptor::from(pki::server_config(own, &ClientAuth::None, Alpn::Http1).unwrap());
        let listener = TcpListener::bind((ALLOWED, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let other = TcpListener::bind(SocketAddr::new(OTHER.parse().unwrap(), port)).await.unwrap();
        let state = Arc::new(State {
            file: file.to_vec(),
            port,
            released: watch::Sender::new(false),
            connections: AtomicUsize::new(0),
            open: watch::Sender::new(0),
            asked: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for listener in [listener, other] {
            tasks.spawn(serve(listener, acceptor.clone(), Arc::clone(&state)));
        }
        Self { port, dir, state, _tasks: tasks }
    }

    /// The file with the CA that signed the server's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca/ca.pem")
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://{ALLOWED}:{}{path}", self.port)
    }

    /// The URL of a path under another name or address.
    pub fn url_at(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// What each request for a path said of ranges.
    pub fn asked(&self, path: &str) -> Vec<String> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|(asked, _)| asked == path).map(|(_, range)| range.clone()).collect()
    }

    /// Waits until so many requests are being answered.
    pub async fn answering(&self, count: usize) {
        let mut open = self.state.open.subscribe();
        let seen = open.wait_for(|open| *open == count);
        tokio::time::timeout(crate::installation::PATIENCE, seen).await.expect("the core asks in time").unwrap();
    }

    /// Lets `/held` go on.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        state.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(answer(stream, acceptor.clone(), Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    let (mut line, mut range) = (String::new(), String::new());
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) && line != "\r\n" {
        if first.is_empty() {
            first = line.clone();
        }
        if line.to_lowercase().starts_with("range:") || line.to_lowercase().starts_with("if-range:") {
            range += &line.to_lowercase().replace("\r\n", ";");
        }
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    state.asked.lock().unwrap().push((path.clone(), range));
    state.open.send_modify(|open| *open += 1);
    // Whoever asked may leave.
    let _ = send(stream.get_mut(), &path, &state).await;
    let _ = stream.shutdown().await;
    state.open.send_modify(|open| *open -= 1);
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), path: &str, state: &State) -> std::io::Result<()> {
    let (port, length) = (state.port, state.file.len());
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let half = length / 2;
    let first = state.asked.lock().unwrap().iter().filter(|(asked, _)| asked == path).count() == 1;
    let tagged = |tag: &str| format!("HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {length}\r\n\r\n");
    let partial = |from: usize| {
        let (last, left) = (length - 1, length - from);
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{last}/{length}\r\nContent-Length: {left}\r\n\r\n"
        )
    };
    let head = match path {
        "/ranges" if !first => partial(half),
        "/astray" if state.asked.lock().unwrap().iter().filter(|(asked, _)| asked == path).count() == 2 => partial(0),
        "/ranges" | "/changed" | "/astray" => tagged("\"one\""),
        "/weak" => tagged("W/\"one\""),
        "/good" | "/held" => ok(length),
        "/other" => ok(5) + "hello",
        "/truncated" => ok(length + 1),
        "/declared" => ok(1 << 40),
        "/missing" => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/endless" | "/drops" => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        "/nowhere" => "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/loop" => redirect("/loop"),
        "/to-good" => redirect("good"),
        "/to-private" => redirect(&format!("https://{OTHER}:{port}/good")),
        "/to-mapped" => redirect(&format!("https://[::ffff:127.0.0.2]:{port}/good")),
        "/to-http" => redirect(&format!("http://{ALLOWED}:{port}/good")),
        "/to-file" => redirect("file:///etc/passwd"),
        "/to-user" => redirect(&format!("https://user:{query}@{ALLOWED}:{port}/good")),
        _ => return Ok(()),
    };
    stream.write_all(head.as_bytes()).await?;
    match path {
        "/ranges" if !first => stream.write_all(&state.file[half..]).await,
        "/ranges" | "/changed" | "/weak" | "/astray" if first => stream.write_all(&state.file[..half]).await,
        "/changed" | "/weak" | "/astray" => stream.write_all(&state.file).await,
        "/good" | "/truncated" => stream.write_all(&state.file).await,
        "/held" => {
            let (now, later) = state.file.split_at(length / 2);
            stream.write_all(now).await?;
            stream.flush().await?;
            let _ = state.released.subscribe().wait_for(|released| *released).await;
            stream.write_all(later).await
        }
        "/endless" => loop {
            stream.write_all(&[0; 4096]).await?;
        },
        "/drops" => {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                stream.write_all(&[0; 8]).await?;
                stream.flush().await?;
            }
        }
        _ => stream.flush().await,
    }
}
