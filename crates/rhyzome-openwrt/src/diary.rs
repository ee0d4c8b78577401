//! What was seen of a router between jobs, so that only what changes is told.

use std::collections::{BTreeMap, BTreeSet};

use jobs::{Held, Object, observed};
use types::{Epoch, Revision, Version};
use ubus::UbusError;

/// What is told of a network whose sections are no more what they were made: a version below all others.
pub const DRIFTED: Version = Version { epoch: Epoch(0), revision: Revision(0) };

/// What was seen of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The networks on it.
    pub held: Vec<Held>,
    /// Where peers reach them.
    pub endpoint_host: Option<String>,
}

/// What was seen last.
#[derive(Debug, Default)]
pub struct Diary {
    endpoints: BTreeMap<Object, Option<String>>,
    drifted: BTreeSet<Object>,
    trouble: Option<String>,
}

impl Diary {
    /// Takes a look down and logs what is new in it; gives what is to be told of networks: those whose endpoint is another
    /// than before, and all when the router cannot be worked and when it can again.
    pub fn enter(&mut self, look: anyhow::Result<Sight>) -> Vec<(Object, observed::Network)> {
        let Sight { held, endpoint_host } = match look {
            Ok(sight) => sight,
            Err(error) => {
                let trouble = format!("{error:#}");
                if self.trouble.as_ref() == Some(&trouble) {
                    return Vec::new();
                }
                tracing::warn!(reason = trouble, "the router is not in order");
                self.trouble = Some(trouble.clone());
                if !error.downcast_ref().is_some_and(UbusError::is_unreachable) {
                    return Vec::new();
                }
                let told = |object: &Object| (*object, observed::Network::unreachable(trouble.clone()));
                return self.endpoints.keys().map(told).collect();
            }
        };
        let recovers = self.trouble.take().is_some();
        if recovers {
            tracing::info!("the router is in order again");
        }
        let drifted = held.iter().filter(|held| held.version == DRIFTED).map(|held| held.object).collect();
        for object in self.drifted.symmetric_difference(&drifted) {
            match drifted.contains(object) {
                true => tracing::warn!(%object, "somebody changed its sections on the router"),
                false => tracing::info!(%object, "its sections on the router are as they were made"),
            }
        }
        self.drifted = drifted;
        let endpoints = held.iter().map(|held| (held.object, endpoint_host.clone())).collect();
        let before = std::mem::replace(&mut self.endpoints, endpoints);
        let is_other = |(object, host): &(&Object, &Option<String>)| recovers || before.get(*object) != Some(*host);
        let told = |(object, host): (&Object, &Option<String>)| {
            (*object, observed::Network { endpoint_host: host.clone(), unreachable: None })
        };
        self.endpoints.iter().filter(is_other).map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use types::NetworkId;

    use super::*;

    #[test]
    fn an_endpoint_is_told_once_and_again_when_it_moves_or_the_router_is_back() {
        let object = Object::Network(NetworkId::from_bits(1));
        let sight = |host: &str| Sight {
            held: vec![Held { object, version: Version { epoch: Epoch(1), revision: Revision(1) } }],
            endpoint_host: Some(host.to_owned()),
        };
        let at = |host: &str| {
            let seen = observed::Network { endpoint_host: Some(host.to_owned()), unreachable: None };
            vec![(object, seen)]
        };
        let refused = || UbusError::Login { username: "agent".to_owned() };
        let mut diary = Diary::default();
        assert_eq!(diary.enter(Ok(sight("a"))), at("a"));
        assert_eq!(diary.enter(Ok(sight("a"))), []);
        let told = diary.enter(Err(refused().into()));
        assert_eq!(told, [(object, observed::Network::unreachable(refused().to_string()))]);
        assert_eq!(diary.enter(Err(refused().into())), [], "what is known already");
        assert_eq!(diary.enter(Ok(sight("a"))), at("a"), "it is reachable again");
        assert_eq!(diary.enter(Err(anyhow::anyhow!("an interface does not answer"))), [], "the router itself does");
        assert_eq!(diary.enter(Ok(sight("b"))), at("b"));
    }
}
