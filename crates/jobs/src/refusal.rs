//! Why the core will not have an agent for the certificate it showed; both sides know the same words.

use std::fmt::Display;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Where a refused call says why, in one word.
const METADATA: &str = "rhyzome-refusal";

/// Why an agent's certificate is not good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// None was shown.
    NoCertificate,
    /// No CA that the core believes signed it.
    Foreign,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over; it may still be renewed.
    Expired,
    /// Its time is over for so long that it cannot be renewed.
    TooOld,
    /// It is wrong in another way.
    Wrong,
    /// It names another installation.
    OtherInstallation,
    /// It names another target than its agent works.
    OtherTarget,
    /// It names an agent that the core does not know.
    Unknown,
    /// The agent was revoked.
    Revoked,
}

impl Refusal {
    const ALL: [Self; 10] = [
        Self::NoCertificate,
        Self::Foreign,
        Self::NotYetValid,
        Self::Expired,
        Self::TooOld,
        Self::Wrong,
        Self::OtherInstallation,
        Self::OtherTarget,
        Self::Unknown,
        Self::Revoked,
    ];

    /// The word for it on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::Foreign => "foreign",
            Self::NotYetValid => "not-yet-valid",
            Self::Expired => "expired",
            Self::TooOld => "too-old",
            Self::Wrong => "wrong",
            Self::OtherInstallation => "other-installation",
            Self::OtherTarget => "other-target",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
        }
    }

    /// Whether neither time nor a renewal can help.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::NotYetValid | Self::Expired)
    }

    /// What a person can do about it where the agent runs.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NotYetValid => "set the clocks of the core's machine and of the one that made the certificate",
            Self::Expired => "it is renewed by itself, unless another CA made it, which then must",
            Self::Foreign => {
                "show a certificate of the core's CA, or name the other CA under tls.ca in the core's configuration"
            }
            Self::NoCertificate
            | Self::TooOld
            | Self::Wrong
            | Self::OtherInstallation
            | Self::OtherTarget
            | Self::Unknown
            | Self::Revoked => {
                "invite it again (rhyzome admin agent invite) and name the file in agent.invitation_file"
            }
        }
    }

    /// The status that refuses a call, with a sentence for a person.
    pub fn status(self, sentence: impl Display) -> Status {
        let code = match self {
            Self::NoCertificate => Code::Unauthenticated,
            _ => Code::PermissionDenied,
        };
        let mut status = Status::new(code, sentence.to_string());
        status.metadata_mut().insert(METADATA, MetadataValue::from_static(self.word()));
        status
    }

    /// What a status says about the certificate, if it does.
    pub fn of(status: &Status) -> Option<Self> {
        let word = status.metadata().get(METADATA)?.to_str().ok()?;
        Self::ALL.into_iter().find(|refusal| refusal.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_other_statuses_and_from_each_other() {
        for refusal in Refusal::ALL {
            let status = refusal.status("no");
            assert_eq!((Refusal::of(&status), status.message()), (Some(refusal), "no"));
        }
        assert_eq!(Refusal::of(&Status::permission_denied("no")), None);
        let mut strange = Status::permission_denied("no");
        strange.metadata_mut().insert(METADATA, MetadataValue::from_static("mood"));
        assert_eq!(Refusal::of(&strange), None);
    }
}
