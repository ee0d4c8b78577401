//! Invitations: what a person hands to a machine that is to become an agent.
//!
//! The text form is `rzi1.` and base64url without padding of JSON: where the core is, the certificate of its CA (DER in
//! base64url), the invitation's id and its secret. Whoever holds it can enrol once.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use pki::Roots;
use serde::{Deserialize, Serialize};
use types::{InvitationId, ParseError, SecretText};

use crate::core_url::CoreUrl;

const PREFIX: &str = "rzi1.";
const EXPECTED: &str = "an invitation (a text that begins with rzi1.)";

/// The right to enrol one agent, once.
pub struct Invitation {
    /// Where the core is.
    pub core: CoreUrl,
    /// The CA that the core's certificate must come from.
    pub ca: Roots,
    /// Which invitation this is.
    pub id: InvitationId,
    /// What proves it, base64url without padding.
    pub secret: SecretText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<Secret> {
    url: CoreUrl,
    ca: String,
    invitation: InvitationId,
    secret: Secret,
}

impl Invitation {
    /// The text form, which holds the secret.
    pub fn reveal(&self) -> SecretText {
        let ca = self.ca.certificates().first().map(|certificate| BASE64URL_NOPAD.encode(certificate));
        let wire = Wire {
            url: self.core.clone(),
            ca: ca.unwrap_or_default(),
            invitation: self.id,
            secret: self.secret.reveal(),
        };
        let json = SecretText::new(serde_json::to_string(&wire).expect("invariant: texts are JSON"));
        SecretText::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(json.reveal().as_bytes())))
    }
}

/// The error does not repeat the text.
impl FromStr for Invitation {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        read(text.trim()).ok_or_else(|| ParseError::new("(hidden)", EXPECTED))
    }
}

fn read(text: &str) -> Option<Invitation> {
    let json = BASE64URL_NOPAD.decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?;
    let json = SecretText::new(String::from_utf8(json).ok()?);
    let wire: Wire<String> = serde_json::from_str(json.reveal()).ok()?;
    let secret = SecretText::new(wire.secret);
    let ca = BASE64URL_NOPAD.decode(wire.ca.as_bytes()).ok()?;
    Some(Invitation { core: wire.url, ca: Roots::from_der(ca).ok()?, id: wire.invitation, secret })
}

impl fmt::Debug for Invitation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Invitation {{ core: {}, id: {}, secret: (hidden) }}", self.core, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        let dir = tempfile::tempdir().unwrap();
        let authority = pki::Authority::init(&dir.path().join("ca"), time::OffsetDateTime::now_utc()).unwrap();
        Invitation {
            core: "https://127.0.0.1:7741".parse().unwrap(),
            ca: authority.roots().unwrap(),
            id: InvitationId::from_bits(3),
            secret: SecretText::new("hush-hush".to_owned()),
        }
    }

    #[test]
    fn invitations_round_trip() {
        let invitation = invitation();
        let text = invitation.reveal();
        assert!(text.reveal().starts_with("rzi1.ey"));
        let back: Invitation = format!("{}\n", text.reveal()).parse().unwrap();
        assert_eq!((&back.core, back.id, back.secret.reveal()), (&invitation.core, invitation.id, "hush-hush"));
        assert_eq!(back.ca.certificates(), invitation.ca.certificates());
    }

    #[test]
    fn the_secret_shows_nowhere() {
        let invitation = invitation();
        assert!(!format!("{invitation:?}").contains("hush"));
        let mut text = invitation.reveal().reveal().to_owned();
        text.truncate(200);
        let error = text.parse::<Invitation>().unwrap_err();
        assert_eq!(error.to_string(), "\"(hidden)\" is not an invitation (a text that begins with rzi1.)");
    }
}
