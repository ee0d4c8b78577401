//! ubus, the bus of OpenWrt: calls to it, sessions on it, and the UCI transaction.
//!
//! [`Ubus`] is a way to make calls; [`Https`] makes them through uhttpd, [`Local`] over the router's own socket. A [`Client`] logs in and keeps a session. A
//! [`Transaction`] changes configuration so that it is either what was asked, verified and confirmed, or what it was
//! before. The facts about rpcd behind all this are in OpenWrt's rpcd (`uci.c`, `session.c`) and uhttpd (`ubus.c`).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod blob;
mod call;
mod error;
#[cfg(feature = "https")]
mod https;
mod local;
mod lock;
pub mod message;
mod rights;
mod session;
mod staging;
mod status;
mod transaction;
mod wire;

pub use call::{MAX_REQUEST, SessionId, Ubus};
pub use error::{RpcCode, UbusError};
#[cfg(feature = "https")]
pub use https::{Https, HttpsError, Limits};
pub use local::Local;
pub use lock::{Lock, LockError};
pub use rights::Rights;
pub use session::{Client, Credentials, Session};
pub use status::Status;
pub use transaction::{
    BoxError, Outcome, Settings, SettingsError, Staged, Step, Transaction, TransactionError, UndoError,
};
