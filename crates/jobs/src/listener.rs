//! The core's end of a connection: TLS with whoever knocks, and which agent it is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use pki::server::TlsStream;
use pki::{
    Alpn, ClientAuth, Clock, Judge, KeyedCertificate, PkiError, Roots, ServerConfig, Shown, TlsAcceptor,
    handshake_failure, server_config,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::server::Connected;

use crate::complaint::Complaints;

/// Longest time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once; further connections wait in the kernel's queue.
const HANDSHAKES: usize = 64;
/// Pause after the system refused a connection, as it does when it is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What the server shows to agents, and whom it believes.
pub struct AgentTls {
    config: Arc<ServerConfig>,
    judge: Judge,
}

impl AgentTls {
    /// Shows `own`, and believes agents of our own CA and of those that were configured beside it.
    pub fn new(own: KeyedCertificate, ours: &Roots, others: Option<&Roots>) -> Result<Self, PkiError> {
        let config = server_config(own, &ClientAuth::Asked, Alpn::Http2)?;
        Ok(Self { config, judge: Judge::new(ours, others)? })
    }
}

/// Who is at the other end; found in a request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// What its certificate is worth, as of the handshake.
    pub shown: Shown,
}

/// Connections to `listener` whose handshake went well, for a gRPC server. One that fails is dropped and logged.
/// Each handshake takes what `tls` holds at its time; connections outlive a change.
pub fn incoming(
    listener: TcpListener,
    tls: watch::Receiver<Arc<AgentTls>>,
    clock: Clock,
) -> impl Stream<Item = io::Result<Connection>> {
    let porter = Arc::new(Porter { tls, clock, complaints: Mutex::default() });
    let door = Door { listener, porter, handshakes: JoinSet::new() };
    unfold(door, async |mut door| Some((Ok(door.next().await), door)))
}

struct Door {
    listener: TcpListener,
    porter: Arc<Porter>,
    handshakes: JoinSet<Option<Connection>>,
}

impl Door {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(shaken) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = shaken {
                        return connection;
                    }
                }
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES => match accepted {
                    Ok((stream, address)) => {
                        let porter = Arc::clone(&self.porter);
                        self.handshakes.spawn(async move { porter.shake(stream, address).await });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Shakes hands with whoever comes.
struct Porter {
    tls: watch::Receiver<Arc<AgentTls>>,
    clock: Clock,
    complaints: Mutex<Complaints>,
}

impl Porter {
    async fn shake(&self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        // Jobs and reports are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let tls = Arc::clone(&self.tls.borrow());
        let reason = match timeout(HANDSHAKE, TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream)).await {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let shown = tls.judge.judge(chain, self.clock.now());
                return Some(Connection { stream, peer: Peer { address, shown } });
            }
            Ok(Err(error)) => handshake_failure(&error),
            Err(_) => format!("it took over {} s", HANDSHAKE.as_secs()),
        };
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = complaints.worth_saying(address.ip(), "handshake", self.clock.now()) {
            tracing::info!(%address, reason, unsaid, "a TLS handshake failed");
        }
        None
    }
}

/// One connection after its handshake.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
