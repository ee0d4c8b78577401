//! What a caller may do: `<kind>:<verb>`, with `*` for any.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::ParseError;

const EXPECTED: &str = "a scope (<kind>:<read|create|update|delete>, * for any; kinds: network, instance, image, peer, \
                        operation, event, agent)";

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word that stands for it in a scope.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What a scope is about.
    ScopeKind {
        /// Networks.
        Network "network",
        /// Instances.
        Instance "instance",
        /// Images.
        Image "image",
        /// Peers.
        Peer "peer",
        /// Operations.
        Operation "operation",
        /// Events.
        Event "event",
        /// Agents, their targets and invitations.
        Agent "agent",
        /// Everything.
        Any "*",
    }
}

words! {
    /// What a scope lets do.
    ScopeVerb {
        /// See it.
        Read "read",
        /// Make it.
        Create "create",
        /// Change it.
        Update "update",
        /// Delete it.
        Delete "delete",
        /// Everything.
        Any "*",
    }
}

/// One right, as in `network:create` or `*:*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// About what.
    pub kind: ScopeKind,
    /// To do what.
    pub verb: ScopeVerb,
}

impl Scope {
    /// Whether holding this scope allows `verb` on `kind`.
    pub fn allows(self, kind: ScopeKind, verb: ScopeVerb) -> bool {
        (self.kind == ScopeKind::Any || self.kind == kind) && (self.verb == ScopeVerb::Any || self.verb == verb)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.kind.as_str(), self.verb.as_str())
    }
}

impl FromStr for Scope {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, EXPECTED);
        let (kind, verb) = text.split_once(':').ok_or_else(refuse)?;
        Ok(Self {
            kind: ScopeKind::from_word(kind).ok_or_else(refuse)?,
            verb: ScopeVerb::from_word(verb).ok_or_else(refuse)?,
        })
    }
}

text_type!(Scope, "network:create", "A right: <kind>:<read|create|update|delete>, * for any.");

/// All rights of one caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Scopes(pub BTreeSet<Scope>);

impl Scopes {
    /// Every right.
    pub fn all() -> Self {
        Self(BTreeSet::from([Scope { kind: ScopeKind::Any, verb: ScopeVerb::Any }]))
    }

    /// Whether one of the scopes allows `verb` on `kind`.
    pub fn allow(&self, kind: ScopeKind, verb: ScopeVerb) -> bool {
        self.0.iter().any(|scope| scope.allows(kind, verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_widen_and_nothing_else_does() {
        let scopes = Scopes(BTreeSet::from(["network:*".parse().unwrap(), "*:read".parse().unwrap()]));
        assert!(scopes.allow(ScopeKind::Network, ScopeVerb::Delete));
        assert!(scopes.allow(ScopeKind::Peer, ScopeVerb::Read));
        assert!(!scopes.allow(ScopeKind::Peer, ScopeVerb::Create));
        assert!("network".parse::<Scope>().is_err());
        assert!("network:own".parse::<Scope>().is_err());
    }
}
