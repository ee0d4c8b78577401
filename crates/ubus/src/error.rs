//! What can go wrong with a call.

use std::fmt;
use std::time::Duration;

use crate::Status;

/// An error in the words of JSON-RPC, as uhttpd gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcCode {
    /// -32700: not a request, or one of more than 65,536 bytes.
    Parse,
    /// -32601
    MethodNotFound,
    /// -32602
    InvalidParameters,
    /// -32000
    ObjectNotFound,
    /// -32002: the session is unknown or expired, or its user may not make the call. Which, cannot be told.
    AccessDenied,
    /// -32003
    Timeout,
    /// A number that uhttpd does not use.
    Other(i64),
}

impl RpcCode {
    /// The meaning of a number.
    #[must_use]
    pub fn from_code(code: i64) -> Self {
        match code {
            -32700 => Self::Parse,
            -32601 => Self::MethodNotFound,
            -32602 => Self::InvalidParameters,
            -32000 => Self::ObjectNotFound,
            -32002 => Self::AccessDenied,
            -32003 => Self::Timeout,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for RpcCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "parse error (-32700)",
            Self::MethodNotFound => "method not found (-32601)",
            Self::InvalidParameters => "invalid parameters (-32602)",
            Self::ObjectNotFound => "object not found (-32000)",
            Self::AccessDenied => "access denied, or the session has expired (-32002)",
            Self::Timeout => "timeout (-32003)",
            Self::Other(code) => return write!(f, "unknown error ({code})"),
        })
    }
}

/// A call that failed. `object` and `method` say which.
#[derive(Debug, thiserror::Error)]
pub enum UbusError {
    /// The router cannot be reached, or the connection broke.
    #[error("{object} {method}: no answer from the router")]
    Transport {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// What happened on the way.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The router's certificate is not believed. Nothing was sent.
    #[error("{object} {method}: the router's certificate is not believed: {reason}")]
    Certificate {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// Why, and what was expected.
        reason: String,
    },
    /// The answer did not come in time. The call may have been carried out.
    #[error("{object} {method}: no answer within {} ms", deadline.as_millis())]
    Deadline {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// How long it may take.
        deadline: Duration,
    },
    /// The web server answered instead of ubus.
    #[error("{object} {method}: the web server answers {status}, expected 200")]
    Http {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// The HTTP status.
        status: u16,
    },
    /// The request is more than uhttpd reads. It was not sent.
    #[error("{object} {method}: the request has {size} bytes, expected at most {limit}")]
    RequestTooLarge {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer is more than this client reads. The call may have been carried out.
    #[error("{object} {method}: the answer has more than {limit} bytes")]
    ReplyTooLarge {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer is not what this call is answered with.
    #[error("{object} {method}: the answer is not as expected: expected {expected}")]
    Malformed {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// What was expected.
        expected: String,
    },
    /// uhttpd refused the call.
    #[error("{object} {method}: {code}")]
    Rpc {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// Why.
        code: RpcCode,
        /// Why, in uhttpd's words.
        message: String,
    },
    /// A session that was made for the call may not make it.
    #[error("the login may not call {object} {method}: expected an access list of rpcd that grants it")]
    Denied {
        /// The object.
        object: String,
        /// The method.
        method: String,
    },
    /// The object refused the call.
    #[error("{object} {method}: {status}")]
    Status {
        /// The object.
        object: String,
        /// The method.
        method: String,
        /// Why.
        status: Status,
    },
    /// rpcd does not know the user, or not this password.
    #[error("login of {username:?} refused: expected a user of rpcd and its password")]
    Login {
        /// The user.
        username: String,
    },
}

impl UbusError {
    /// Whether the session has expired, or its user may not make the call.
    #[must_use]
    pub fn is_access_denied(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Rpc { code: RpcCode::AccessDenied, .. })
    }

    /// The status with which the object refused the call.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same call may succeed later with nothing changed: nobody refused it, it got lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Deadline { .. } | Self::Http { .. } => true,
            Self::Rpc { code, .. } => *code == RpcCode::Timeout,
            Self::Status { status, .. } => matches!(status, Status::Timeout | Status::ConnectionFailed),
            Self::Certificate { .. }
            | Self::RequestTooLarge { .. }
            | Self::ReplyTooLarge { .. }
            | Self::Malformed { .. }
            | Self::Denied { .. }
            | Self::Login { .. } => false,
        }
    }

    /// Whether the router cannot be worked at all, whatever is asked of it: it is away, is another, or does not know us.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        !self.was_refused() || matches!(self, Self::Certificate { .. } | Self::Login { .. })
    }

    /// Whether it is certain that the call was not carried out: somebody refused it.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        !self.is_lost() && !matches!(self, Self::Malformed { .. } | Self::ReplyTooLarge { .. })
    }

    pub(crate) fn malformed(object: &str, method: &str, expected: impl Into<String>) -> Self {
        Self::Malformed { object: object.to_owned(), method: method.to_owned(), expected: expected.into() }
    }
}
