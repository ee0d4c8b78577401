//! A connection to the core: gRPC over HTTP/2 over TLS with our own roots.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use pki::{Alpn, KeyedCertificate, PkiError, Roots, TlsConnector, client_config};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::core_url::CoreUrl;

/// Longest time until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a quiet connection is tried; below what NAT and firewalls forget after.
const PING: Duration = Duration::from_secs(20);
/// How long the core may take to answer that.
const PONG: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The core cannot be reached, or it is not whom we believe.
    #[error("cannot connect to {core}: {reason}")]
    Unreachable {
        /// Where it should be.
        core: CoreUrl,
        /// The chain of reasons.
        reason: String,
    },
}

/// Connects to `core`, whose certificate must come from `roots`, and shows `own` where there is one.
pub async fn connect(core: &CoreUrl, roots: &Roots, own: Option<KeyedCertificate>) -> Result<Channel, ConnectError> {
    let unreachable =
        |error: tonic::transport::Error| ConnectError::Unreachable { core: core.clone(), reason: chain(&error) };
    let tls = TlsConnector::from(Arc::new(client_config(roots, own, Alpn::Http2)?));
    let dialled = core.clone();
    let connector = tower::service_fn(move |_| dial(tls.clone(), dialled.clone()));
    Endpoint::from_shared(core.to_string())
        .map_err(unreachable)?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(unreachable)
}

async fn dial(tls: TlsConnector, core: CoreUrl) -> io::Result<TokioIo<pki::client::TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(core.socket_address()).await?;
    stream.set_nodelay(true)?;
    match tls.connect(core.host().clone(), stream).await {
        Ok(stream) => Ok(TokioIo::new(stream)),
        Err(error) => Err(io::Error::new(error.kind(), pki::handshake_failure(&error))),
    }
}

/// An error and what caused it, in one line. Causes that an error's own text repeats are said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
