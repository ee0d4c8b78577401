//! Updates of a zone: each name with a text beside it that says whose it is, in one message.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use types::DomainName;

use super::Target;
use super::message::Update;
use super::tsig::{Key, TsigError};

/// How long a server may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The label beside a name that says whose it is.
const OWNER: &str = "diplonat-owner";

/// Why a name is not as it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The server cannot be spoken to.
    #[error("the name server {server} cannot be reached")]
    Unreachable {
        /// The server.
        server: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("the name server {0} takes too long")]
    Slow(SocketAddr),
    /// It refuses.
    #[error("the name server {server} says {said}")]
    Refused {
        /// The server.
        server: SocketAddr,
        /// What it says.
        said: String,
    },
    /// Its answer is not believed.
    #[error("the name server {server}")]
    Untrusted {
        /// The server.
        server: SocketAddr,
        /// Why.
        #[source]
        source: TsigError,
    },
    /// The name is another's.
    #[error("{0} has records that are not ours to change")]
    Foreign(DomainName),
    /// The name is too long for the text beside it.
    #[error("{0} is too long")]
    TooLong(DomainName),
}

/// A zone on its server.
pub struct Zone {
    /// The server.
    pub server: SocketAddr,
    /// The zone's name.
    pub name: DomainName,
    /// How long answers may be remembered, in seconds.
    pub ttl: u32,
    /// What the text beside our names says.
    pub owner: String,
    /// The key.
    pub key: Key,
}

impl Zone {
    /// Makes a name lead to these targets and no others, if it is nobody's or ours.
    pub async fn point(&self, name: &DomainName, targets: &BTreeSet<Target>) -> Result<(), UpdateError> {
        let owner = owner_of(name)?;
        let set = |update: Update| {
            let pointed = targets.iter().fold(update, |update, target| update.point(name, target, self.ttl));
            pointed.text(&owner, &self.owner, self.ttl)
        };
        let fresh = set(Update::of(&self.name).only_if_unused(name).only_if_unused(&owner));
        let ours = Update::of(&self.name).only_if_text_is(&owner, &self.owner).remove(name).remove(&owner);
        match self.send(&fresh).await? {
            Code::Done => Ok(()),
            Code::NotSo => match self.send(&set(ours)).await? {
                Code::Done => Ok(()),
                Code::NotSo => Err(UpdateError::Foreign(name.clone())),
            },
        }
    }

    /// Removes a name, if it is ours; one that is another's, or nobody's, is as it should be.
    pub async fn remove(&self, name: &DomainName) -> Result<(), UpdateError> {
        let owner = owner_of(name)?;
        let ours = Update::of(&self.name).only_if_text_is(&owner, &self.owner).remove(name).remove(&owner);
        self.send(&ours).await.map(drop)
    }

    async fn send(&self, update: &Update) -> Result<Code, UpdateError> {
        let server = self.server;
        let mut id = [0; 2];
        getrandom::fill(&mut id).expect("invariant: the kernel gives random numbers");
        let mut message = update.message(u16::from_be_bytes(id));
        let now = crate::gateway::actor::now();
        let mac = self.key.sign(&mut message, now);
        let talk = async {
            let mut stream = TcpStream::connect(server).await?;
            let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes(), message.as_slice()].concat()).await?;
            let mut answer = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut answer).await?;
            Ok(answer)
        };
        let answer: Result<Vec<u8>, std::io::Error> =
            timeout(DEADLINE, talk).await.map_err(|_| UpdateError::Slow(server))?;
        let answer = answer.map_err(|source| UpdateError::Unreachable { server, source })?;
        let refused = |said: String| UpdateError::Refused { server, said };
        let [a, b, flags, code, ..] = answer.as_slice() else { return Err(refused("less than a header".into())) };
        if [*a, *b] != id || flags & 0x80 == 0 {
            return Err(refused("what is no answer to the question".into()));
        }
        let code = code & 0x0f;
        // A server that does not know the key, or refuses, need not sign that; it changes nothing that we believe.
        if ![0, 6, 7, 8].contains(&code) {
            return Err(refused(said(code).into()));
        }
        self.key.verify(&answer, &mac, now).map_err(|source| UpdateError::Untrusted { server, source })?;
        Ok(if code == 0 { Code::Done } else { Code::NotSo })
    }
}

enum Code {
    Done,
    /// What has to be so is not so.
    NotSo,
}

fn owner_of(name: &DomainName) -> Result<DomainName, UpdateError> {
    format!("{OWNER}.{name}").parse().map_err(|_| UpdateError::TooLong(name.clone()))
}

/// What a response code means (RFC 2136, 2.2).
fn said(code: u8) -> &'static str {
    match code {
        1 => "FORMERR: it does not understand us",
        2 => "SERVFAIL: it cannot do it",
        4 => "NOTIMP: it takes no updates",
        5 => "REFUSED: the key may not change this",
        9 => "NOTAUTH: it does not know the key, the zone is not its own, or the clocks differ",
        10 => "NOTZONE: the name is not in the zone",
        _ => "something of unknown meaning",
    }
}
