//! The messages on ubus' local socket (ubus, `ubusmsg.h`): eight bytes of head, then one blob with attributes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::blob;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// ubusd greets; the peer is the client's own id.
    Hello = 0,
    /// The end of an answer.
    Status = 1,
    /// A part of an answer.
    Data = 2,
    /// Is anybody there?
    Ping = 3,
    /// Which objects are there?
    Lookup = 4,
    /// A call; the peer is the object.
    Invoke = 5,
}

/// Attributes: the status of an answer.
pub const STATUS: u8 = 1;
/// The name of an object, or a pattern.
pub const PATH: u8 = 2;
/// The number of an object.
pub const OBJECT: u8 = 3;
/// The name of a method.
pub const METHOD: u8 = 4;
/// What a call is made with, or what it answers, as blobmsg.
pub const DATA: u8 = 7;

/// The longest message that ubusd takes (`UBUS_MAX_MSGLEN`).
pub const LONGEST: usize = 1 << 20;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is, as its number: there are more kinds than are of use here.
    pub kind: u8,
    /// The number that the answer to it repeats.
    pub sequence: u16,
    /// The object or the client.
    pub peer: u32,
    /// The attributes.
    pub body: Vec<u8>,
}

impl Message {
    /// A message with attributes.
    #[must_use]
    pub fn new(kind: Kind, sequence: u16, peer: u32, body: Vec<u8>) -> Self {
        Self { kind: kind as u8, sequence, peer, body }
    }

    /// Writes it.
    ///
    /// # Errors
    /// As the socket says; a message that is too long is `InvalidInput`, and nothing of it is written.
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.body.len() + 12 > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is longer than ubusd takes"));
        }
        let mut bytes = vec![0, self.kind];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.peer.to_be_bytes());
        blob::put(&mut bytes, 0, &self.body);
        to.write_all(&bytes).await
    }

    /// Reads one.
    ///
    /// # Errors
    /// As the socket says; what is no message is `InvalidData`.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut head = [0; 12];
        from.read_exact(&mut head).await?;
        let [version, kind, s0, s1, p0, p1, p2, p3, l0, l1, l2, l3] = head;
        if version != 0 {
            return Err(bad("expected version 0 of ubus"));
        }
        let length = (u32::from_be_bytes([l0, l1, l2, l3]) & 0x00ff_ffff) as usize;
        if !(4..=LONGEST).contains(&length) {
            return Err(bad("expected a message of at most 1 MiB"));
        }
        let mut body = vec![0; length.next_multiple_of(4) - 4];
        from.read_exact(&mut body).await?;
        body.truncate(length - 4);
        let (sequence, peer) = (u16::from_be_bytes([s0, s1]), u32::from_be_bytes([p0, p1, p2, p3]));
        Ok(Self { kind, sequence, peer, body })
    }

    /// The content of its first attribute with this id.
    #[must_use]
    pub fn attribute(&self, id: u8) -> Option<&[u8]> {
        let attributes = blob::attributes(&self.body).ok()?;
        attributes.into_iter().find(|(other, _)| *other == id).map(|(_, content)| content)
    }
}
