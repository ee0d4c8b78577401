//! The cycle: a device asks, a master answers, each in one datagram, and the answer is the shorter one.
//!
//! A lost datagram costs a cycle and nothing else. [`Asker`] is the device's side and decides when to ask whom and by which
//! way; [`Answerer`] is the master's, and knows what each device said last.

mod answerer;
mod asker;
mod payload;

pub use answerer::{Answerer, Remark, Seen};
pub use asker::{Asker, Server, Step, Way};
pub use payload::{Answer, AnswerFlags, Ask, Payload, PayloadError, StatusDigest};
