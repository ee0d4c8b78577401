//! Callers of the API in a process of their own, for measurements: they ask over connections that stay open, look at no
//! more of an answer than its status and length, and say what they took of the processor themselves, so that figures are
//! the core's. Paths come from standard input, one a line; what was measured goes to standard output, in JSON.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use pki::client::TlsStream;
use pki::{Alpn, Roots, TlsConnector};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[derive(Parser)]
struct Options {
    /// Where the API is.
    #[arg(long)]
    address: SocketAddr,
    /// The CA of its certificate.
    #[arg(long)]
    ca: PathBuf,
    /// The file with the token.
    #[arg(long)]
    token: PathBuf,
    /// Connections, each with one request under way.
    #[arg(long)]
    connections: usize,
    /// How long they ask.
    #[arg(long)]
    seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    pki::install_provider();
    let options = Options::parse();
    let mut paths = String::new();
    std::io::stdin().read_to_string(&mut paths)?;
    let token = config::file::read_secret(&options.token)?;
    let request = |path: &str| {
        let (host, token) = (options.address, token.reveal().trim());
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
    };
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(paths.lines().map(request).collect());
    ensure!(!requests.is_empty(), "no paths were given");
    let tls = pki::client_config(&Roots::from_pem(&config::file::read(&options.ca)?)?, None, Alpn::Http1)?;
    let connector = TlsConnector::from(Arc::new(tls));
    let mut streams = Vec::new();
    for _ in 0..options.connections {
        let stream = TcpStream::connect(options.address).await?;
        stream.set_nodelay(true)?;
        streams.push(connector.connect(options.address.ip().into(), stream).await?);
    }
    let own = processor_time()?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut callers = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        callers.spawn(call(stream, requests.clone(), (number, options.connections), end));
    }
    let mut times = Vec::new();
    while let Some(caller) = callers.join_next().await {
        times.extend(caller??);
    }
    times.sort();
    let quantile = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros() as u64;
    let measured = json!({
        "requests": times.len(),
        "p50_us": quantile(0.5),
        "p99_us": quantile(0.99),
        "own_us": (processor_time()? - own).as_micros() as u64,
    });
    println!("{measured}");
    Ok(())
}

/// Asks for every so-many-th path, from one on, again and again, and gives how long each answer took.
async fn call(
    mut stream: TlsStream<TcpStream>,
    requests: Arc<Vec<Vec<u8>>>,
    (from, step): (usize, usize),
    end: Instant,
) -> Result<Vec<Duration>> {
    let (mut times, mut answer) = (Vec::new(), Vec::new());
    for number in (from..).step_by(step) {
        let began = Instant::now();
        if began >= end {
            break;
        }
        stream.write_all(&requests[number % requests.len()]).await?;
        read_answer(&mut stream, &mut answer).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Reads one answer to its end.
async fn read_answer(stream: &mut TlsStream<TcpStream>, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        ensure!(stream.read_buf(answer).await? > 0, "the core closed a connection");
        let Some(head) = answer.windows(4).take(4096).position(|end| end == b"\r\n\r\n") else { continue };
        if whole.is_none() {
            whole = Some(head + 4 + length(&answer[..head])?);
        }
    }
    Ok(())
}

/// The length of the body after a head.
fn length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the core answered {}", head.lines().next().unwrap_or_default());
    }
    let field = head.lines().filter_map(|line| line.split_once(": "));
    let value = field.clone().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok(value.context("an answer has no length")?.1.parse()?)
}

/// The processor time of this process so far.
fn processor_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    Ok(of(usage.user_time()) + of(usage.system_time()))
}
