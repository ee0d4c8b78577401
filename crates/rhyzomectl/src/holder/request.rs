//! What is said over a holder's socket before the bytes of a stream: one line of JSON each way.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::tunnel::{Entrance, Unopened};

/// The longest line.
pub const LINE: usize = 4096;

/// What is asked of a holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// A stream.
    Open {
        /// How the network is entered, to the knowledge of who asks; a holder that knows it otherwise leaves.
        entrance: Entrance,
        /// Where the stream leads.
        remote: SocketAddrV4,
    },
    /// That it leaves at once. The end of the connection is the answer.
    Leave,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The stream is open: all that follows are its bytes.
    Open,
    /// The holder enters the network otherwise, and leaves.
    Outdated,
    /// The WireGuard server did not answer; with what the system said about sending, where it said something.
    NoHandshake(Option<String>),
    /// The machine did not answer.
    NoAnswer,
    /// The machine refused the connection.
    Refused,
    /// The address is not one of the network.
    Elsewhere,
    /// There are too many streams.
    Full,
    /// The request cannot be read.
    Malformed(String),
}

impl Reply {
    /// The reply to a request that came to nothing; `failure` is what the system said last about sending.
    pub fn of(why: Unopened, failure: Option<&str>) -> Self {
        match why {
            Unopened::NoHandshake => Self::NoHandshake(failure.map(str::to_owned)),
            Unopened::NoAnswer => Self::NoAnswer,
            Unopened::Refused => Self::Refused,
            Unopened::Elsewhere => Self::Elsewhere,
            Unopened::Full => Self::Full,
        }
    }
}

/// One line of JSON with its line feed.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("invariant: requests and replies have text keys only");
    line.push(b'\n');
    line
}
