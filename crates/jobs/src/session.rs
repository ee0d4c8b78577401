//! One session with the core: the greeting, then messages both ways.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::convert::{self, ConvertError};
use crate::greeting::{Hello, Welcome};
use crate::proto::{FromAgent, FromCore, from_agent, from_core, jobs_client};
use crate::refusal::Refusal;

/// Longest time for the core to answer the greeting.
const GREETING: Duration = Duration::from_secs(30);
/// Messages to the core that wait for the connection.
const OUTGOING: usize = 64;
/// The largest message either way; a network with thousands of leases is well below.
const LARGEST: usize = 16 * 1024 * 1024;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The core refused, or the connection broke.
    #[error("the core ended the session: {} ({})", .0.message(), .0.code())]
    Status(Box<tonic::Status>),
    /// The core did not greet.
    #[error("the core did not answer the greeting within {} s", GREETING.as_secs())]
    Silent,
    /// The core said something else first.
    #[error("the core said something else than welcome")]
    Impolite,
    /// The core will not have this agent for its certificate.
    #[error("the core refuses this agent's certificate: {sentence}; {}", .refusal.advice())]
    Refused {
        /// Why.
        refusal: Refusal,
        /// The core's words.
        sentence: String,
    },
    /// The core's greeting cannot be read.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

impl From<tonic::Status> for SessionError {
    fn from(status: tonic::Status) -> Self {
        match Refusal::of(&status) {
            Some(refusal) => Self::Refused { refusal, sentence: status.message().to_owned() },
            None => Self::Status(Box::new(status)),
        }
    }
}

/// An open session.
pub struct Session {
    /// What the core said first.
    pub welcome: Welcome,
    /// Takes messages to the core.
    pub outgoing: mpsc::Sender<FromAgent>,
    /// Messages from the core.
    pub incoming: Streaming<FromCore>,
    /// The connection, for other calls.
    pub channel: Channel,
}

/// Says hello and waits for the welcome.
pub async fn open(channel: Channel, hello: Hello) -> Result<Session, SessionError> {
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let first = FromAgent { body: Some(from_agent::Body::Hello(hello.into())) };
    // The receiver is in hand and the channel is empty.
    let _ = outgoing.try_send(first);
    let mut client = jobs_client::JobsClient::new(channel.clone())
        .max_decoding_message_size(LARGEST)
        .max_encoding_message_size(LARGEST);
    let greeting = async {
        let mut incoming = client.session(ReceiverStream::new(messages)).await?.into_inner();
        match incoming.message().await? {
            Some(FromCore { body: Some(from_core::Body::Welcome(welcome)) }) => {
                Ok((convert::read_welcome(&welcome)?, incoming))
            }
            _ => Err(SessionError::Impolite),
        }
    };
    let (welcome, incoming) = timeout(GREETING, greeting).await.map_err(|_| SessionError::Silent)??;
    Ok(Session { welcome, outgoing, incoming, channel })
}
