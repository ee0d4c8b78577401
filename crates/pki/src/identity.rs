//! Who an agent is: a URI in its certificate.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use types::{AgentId, ClusterId, ParseError, TargetId};
use x509_parser::extensions::GeneralName;

use crate::PkiError;
use crate::facts::parse;

const SCHEME: &str = "rhyzome://";
const EXPECTED: &str = "an agent's identity (rhyzome://<cluster>/agents/<agent>/targets/<target>)";

/// Which agent works which target for which installation: `rhyzome://<cluster>/agents/<agent>/targets/<target>`, the
/// one URI among the subject's alternative names (RFC 5280, section 4.2.1.6) of an agent's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentIdentity {
    /// The installation.
    pub cluster: ClusterId,
    /// The agent.
    pub agent: AgentId,
    /// The router or hypervisor that it works.
    pub target: TargetId,
}

impl fmt::Display for AgentIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}/agents/{}/targets/{}", self.cluster, self.agent, self.target)
    }
}

impl FromStr for AgentIdentity {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, EXPECTED);
        let parts: Vec<&str> = text.strip_prefix(SCHEME).ok_or_else(refuse)?.split('/').collect();
        let [cluster, "agents", agent, "targets", target] = parts[..] else { return Err(refuse()) };
        Ok(Self { cluster: cluster.parse()?, agent: agent.parse()?, target: target.parse()? })
    }
}

/// The agent that the peer's verified certificates stand for; the first is its own. Whether they are to be believed is
/// the handshake's business, not this function's.
pub fn identity_of(peer: &[CertificateDer<'_>]) -> Result<AgentIdentity, PkiError> {
    let Some(leaf) = peer.first() else {
        return Err(PkiError::NoIdentity("none was shown".to_owned()));
    };
    let certificate = parse(leaf)?;
    let names = certificate.subject_alternative_name().map_err(|error| PkiError::BadCertificate(error.to_string()))?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris[..] {
        [uri] => uri.parse().map_err(|error: ParseError| PkiError::NoIdentity(error.to_string())),
        _ => Err(PkiError::NoIdentity(format!("it has {} URIs, one was expected", uris.len()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn identities_round_trip(cluster: u64, agent: u64, target: u64) {
            let identity = AgentIdentity {
                cluster: ClusterId::from_bits(cluster),
                agent: AgentId::from_bits(agent),
                target: TargetId::from_bits(target),
            };
            prop_assert_eq!(identity.to_string().parse::<AgentIdentity>().unwrap(), identity);
        }

        #[test]
        fn other_texts_are_refused_without_a_panic(text in ".*") {
            prop_assert!(text.parse::<AgentIdentity>().is_err());
        }
    }

    #[test]
    fn nothing_may_follow_or_be_left_out() {
        let identity = AgentIdentity {
            cluster: ClusterId::from_bits(1),
            agent: AgentId::from_bits(2),
            target: TargetId::from_bits(3),
        };
        let text = identity.to_string();
        for bad in
            [format!("{text}/"), format!("{text}?x"), text.replace("targets", "target"), text.replace("agt-", "tgt-")]
        {
            assert!(bad.parse::<AgentIdentity>().is_err(), "{bad}");
        }
    }
}
