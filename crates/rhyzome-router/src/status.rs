//! What a ubus method answers: data, nothing, or a status.

use crate::json::{Json, Members};

/// A ubus status other than success; the numbers are libubus's `enum ubus_msg_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are libubus's")]
pub enum Status {
    InvalidArgument = 2,
    MethodNotFound = 3,
    NotFound = 4,
    NoData = 5,
    PermissionDenied = 6,
    Timeout = 7,
    NotSupported = 8,
    Unknown = 9,
}

impl Status {
    /// The text that goes with the number in uhttpd's second form.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Status::InvalidArgument => "Invalid argument",
            Status::MethodNotFound => "Method not found",
            Status::NotFound => "Not found",
            Status::NoData => "No response",
            Status::PermissionDenied => "Permission denied",
            Status::Timeout => "Request timed out",
            Status::NotSupported => "Operation not supported",
            Status::Unknown => "Unknown error",
        }
    }

    /// How rpcd turns the errors of files into statuses (`rpc_errno_status`).
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::NotFound => Status::NotFound,
            ErrorKind::PermissionDenied => Status::PermissionDenied,
            ErrorKind::NotADirectory | ErrorKind::InvalidInput => Status::InvalidArgument,
            _ => Status::Unknown,
        }
    }
}

/// The answer of a ubus method: success with or without data, or a status.
pub type Answer = Result<Option<Members>, Status>;

/// Success without data.
pub const DONE: Answer = Ok(None);

/// Success with one member of data.
pub fn data(name: &str, value: impl Into<Json>) -> Answer {
    Ok(Some(vec![(name.to_owned(), value.into())]))
}
