//! The status of a call, as ubus numbers it.

use std::fmt;

/// The status with which an object answers a call (libubus, `ubusmsg.h`). Zero is success and not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// 1
    InvalidCommand,
    /// 2
    InvalidArgument,
    /// 3
    MethodNotFound,
    /// 4
    NotFound,
    /// 5
    NoData,
    /// 6
    PermissionDenied,
    /// 7
    Timeout,
    /// 8
    NotSupported,
    /// 9
    UnknownError,
    /// 10
    ConnectionFailed,
    /// 11
    NoMemory,
    /// 12
    ParseError,
    /// 13
    SystemError,
    /// A number that ubus does not name.
    Other(i64),
}

const NAMES: [(i64, Status, &str); 13] = [
    (1, Status::InvalidCommand, "invalid command"),
    (2, Status::InvalidArgument, "invalid argument"),
    (3, Status::MethodNotFound, "method not found"),
    (4, Status::NotFound, "not found"),
    (5, Status::NoData, "no data"),
    (6, Status::PermissionDenied, "permission denied"),
    (7, Status::Timeout, "timeout"),
    (8, Status::NotSupported, "not supported"),
    (9, Status::UnknownError, "unknown error"),
    (10, Status::ConnectionFailed, "connection failed"),
    (11, Status::NoMemory, "no memory"),
    (12, Status::ParseError, "parse error"),
    (13, Status::SystemError, "system error"),
];

impl Status {
    /// The status for a number; nothing for 0, which is success.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        let known = NAMES.iter().find(|(number, ..)| *number == code).map(|(_, status, _)| *status);
        (code != 0).then(|| known.unwrap_or(Self::Other(code)))
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Other(code) => code,
            _ => NAMES.iter().find(|(_, status, _)| *status == self).map_or(0, |(code, ..)| *code),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, status, _)| status == self).map_or("unknown status", |(.., name)| name);
        write!(f, "{name} ({})", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_statuses_go_together() {
        assert_eq!(Status::from_code(0), None);
        for code in 1..=20 {
            assert_eq!(Status::from_code(code).unwrap().code(), code);
        }
        assert_eq!(Status::from_code(6), Some(Status::PermissionDenied));
        assert_eq!(Status::PermissionDenied.to_string(), "permission denied (6)");
        assert_eq!(Status::Other(99).to_string(), "unknown status (99)");
    }
}
