//! Problems: how the interface says no (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused, with every fault of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What it is, stable: `urn:rhyzome:problem:<kind>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong in this case and what can be done.
    pub detail: String,
    /// Every fault of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where: a JSON pointer into the body (RFC 6901), or the name of a parameter.
    pub field: String,
    /// What is wrong and what was expected.
    pub detail: String,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body is not what the interface describes.
    Malformed,
    /// The body is well formed and cannot be.
    Invalid,
    /// No token, or one that is not known.
    Unauthenticated,
    /// The token lacks the scope.
    Forbidden,
    /// No such resource, or none that the caller may see.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// It is so already, or something else is in the way.
    Conflict,
    /// Others refer to it.
    InUse,
    /// The resource changed since it was read.
    Outdated,
    /// The body is too large.
    TooLarge,
    /// The body is of another media type than the interface takes.
    UnsupportedMedia,
    /// The body did not arrive in time.
    TooSlow,
    /// The host that was asked for is none of the server's names.
    Misdirected,
    /// A web page of another origin asks.
    ForeignOrigin,
    /// The idempotency key was used for another request.
    KeyReused,
    /// Too many requests for now.
    TooMany,
    /// Nothing is left of what was asked for.
    Exhausted,
    /// The server failed; it says no more outside.
    Internal,
    /// The server cannot at this moment.
    Unavailable,
}

impl ProblemKind {
    /// The last part of the problem's type.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict => "conflict",
            Self::InUse => "in-use",
            Self::Outdated => "outdated",
            Self::TooLarge => "too-large",
            Self::UnsupportedMedia => "unsupported-media",
            Self::TooSlow => "too-slow",
            Self::Misdirected => "misdirected",
            Self::ForeignOrigin => "foreign-origin",
            Self::KeyReused => "idempotency-key-reused",
            Self::TooMany => "too-many",
            Self::Exhausted => "exhausted",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status (RFC 9110; 429 of RFC 6585, 507 of RFC 4918).
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Invalid | Self::KeyReused => 422,
            Self::Unauthenticated => 401,
            Self::Forbidden | Self::ForeignOrigin => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict | Self::InUse => 409,
            Self::Outdated => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::TooSlow => 408,
            Self::Misdirected => 421,
            Self::TooMany => 429,
            Self::Exhausted => 507,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Invalid => "The request cannot be met as it is",
            Self::Unauthenticated => "Sign in first",
            Self::Forbidden => "The token does not allow this",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The method is not known here",
            Self::Conflict => "Something is in the way",
            Self::InUse => "Others refer to it",
            Self::Outdated => "It has changed since it was read",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMedia => "The body is of a type that is not taken here",
            Self::TooSlow => "The body did not arrive in time",
            Self::Misdirected => "The server has not this name",
            Self::ForeignOrigin => "Pages of other sites may not ask",
            Self::KeyReused => "The idempotency key belongs to another request",
            Self::TooMany => "Too many requests",
            Self::Exhausted => "Nothing is left",
            Self::Internal => "The server failed",
            Self::Unavailable => "The server cannot do it at this moment",
        }
    }

    /// A problem of this kind.
    pub fn because(self, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:rhyzome:problem:{}", self.slug()),
            title: self.title().to_owned(),
            status: self.status(),
            detail: detail.into(),
            faults: Vec::new(),
        }
    }
}

impl Problem {
    /// The same problem with the faults that it consists of.
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }
}

impl Fault {
    /// A fault at the JSON pointer `field`.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.title, self.detail)?;
        self.faults.iter().try_for_each(|fault| write!(out, "\n  {}: {}", fault.field, fault.detail))
    }
}
