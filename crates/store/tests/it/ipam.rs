//! Addresses and subnets against a model: whatever is taken and released in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use store::{Constraint, Store, StoreError};
use types::{HostAddr, HostRange, InstanceId, NetworkId, Subnet};

use crate::ground::{Ground, instance, network, person, router};

/// The last byte of the first and last address that are given out; the rest of the subnet is for wishes.
const RANGE: (u8, u8) = (101, 104);
/// Subnets of the pool, each a /24.
const POOL: u8 = 4;

#[derive(Clone, Debug)]
enum Action {
    /// An instance takes an address: that one, or any.
    Take(Option<u8>),
    /// The instance that took at that place gives its address back, which then rests or does not.
    Release(usize, bool),
    /// A network takes a subnet: that one of the pool, or any.
    TakeSubnet(Option<u8>),
    /// The network that took at that place gives all back.
    ReleaseSubnet(usize),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => prop::option::weighted(0.3, 99..107_u8).prop_map(Action::Take),
        3 => (0..8_usize, any::<bool>()).prop_map(|(place, rests)| Action::Release(place, rests)),
        3 => prop::option::weighted(0.4, 0..POOL).prop_map(Action::TakeSubnet),
        2 => (0..4_usize).prop_map(Action::ReleaseSubnet),
    ]
}

/// What should be taken.
#[derive(Default)]
struct Model {
    addresses: BTreeMap<InstanceId, u8>,
    resting: BTreeSet<u8>,
    subnets: BTreeMap<NetworkId, u8>,
}

impl Model {
    fn is_taken(&self, address: u8) -> bool {
        self.resting.contains(&address) || self.addresses.values().any(|taken| *taken == address)
    }

    fn free_address(&self) -> Option<u8> {
        (RANGE.0..=RANGE.1).find(|address| !self.is_taken(*address))
    }

    fn free_subnet(&self) -> Option<u8> {
        (0..POOL).find(|subnet| !self.subnets.values().any(|taken| taken == subnet))
    }
}

fn address(last: u8) -> HostAddr {
    format!("10.64.0.{last}").parse().unwrap()
}

fn subnet(number: u8) -> Subnet {
    format!("10.80.{number}.0/24").parse().unwrap()
}

/// Each action is a transaction of its own, as PostgreSQL ends one in which something was refused.
async fn act(store: &Store, model: &mut Model, number: u64, action: Action) {
    let me = person("garden");
    let home = NetworkId::from_bits(1);
    let mut session = store.write().await.unwrap();
    match action {
        Action::Take(wanted) => {
            let id = instance(&mut session, number).await;
            let ranges = [HostRange { start: address(RANGE.0), end: address(RANGE.1) }];
            let expected = match wanted {
                Some(wanted) => Some(wanted).filter(|wanted| !model.is_taken(*wanted)),
                None => model.free_address(),
            };
            let got = session.take_address(&me, home, id, wanted.map(address), &ranges).await;
            match (expected, wanted, got) {
                (Some(expected), _, Ok(got)) => {
                    assert_eq!(got, address(expected));
                    model.addresses.insert(id, expected);
                }
                (None, Some(_), Err(StoreError::Refused { constraint: Constraint::Address }))
                | (None, None, Err(StoreError::Exhausted { .. })) => return,
                (expected, _, got) => panic!("{expected:?} was due, not {got:?}"),
            }
        }
        Action::Release(place, rests) => {
            let Some(id) = model.addresses.keys().nth(place).copied() else { return };
            let until = session.now() + if rests { 3_600_000 } else { 0 };
            session.release_instance(&me, id, until).await.unwrap();
            let freed = model.addresses.remove(&id);
            model.resting.extend(freed.filter(|_| rests));
        }
        Action::TakeSubnet(wanted) => {
            let id = network(&mut session, number).await;
            let router = router(&mut session).await;
            let expected = match wanted {
                Some(wanted) => Some(wanted).filter(|wanted| !model.subnets.values().any(|taken| taken == wanted)),
                None => model.free_subnet(),
            };
            let pool = ("10.80.0.0/22".parse().unwrap(), 24);
            match (expected, wanted, session.take_subnet(&me, router, id, wanted.map(subnet), pool).await) {
                (Some(expected), _, Ok(got)) => {
                    assert_eq!(got, subnet(expected));
                    model.subnets.insert(id, expected);
                }
                (None, Some(_), Err(StoreError::Refused { constraint: Constraint::Unique }))
                | (None, None, Err(StoreError::Exhausted { .. })) => return,
                (expected, _, got) => panic!("{expected:?} was due, not {got:?}"),
            }
        }
        Action::ReleaseSubnet(place) => {
            let Some(id) = model.subnets.keys().nth(place).copied() else { return };
            session.release_network(&me, id).await.unwrap();
            model.subnets.remove(&id);
        }
    }
    session.commit().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn addresses_and_subnets_are_given_as_the_model_says(actions in prop::collection::vec(action(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let Ground { store, place: _place } = &Ground::new().await;
            let mut session = store.write().await.unwrap();
            network(&mut session, 1).await;
            session.commit().await.unwrap();
            let mut model = Model::default();
            for (number, action) in (2..).zip(actions) {
                act(store, &mut model, number, action).await;
            }
        });
    }
}
