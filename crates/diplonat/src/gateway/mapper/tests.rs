//! The mapper against a model of a gateway: from any state to the wanted one, and nothing of others is touched.

use std::sync::Mutex;

use async_trait::async_trait;
use proptest::prelude::*;

use super::super::{Grant, Pulse, Request};
use super::*;

const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 3);

/// A gateway of which everything is known.
#[derive(Default)]
struct Model {
    dialects: Vec<Dialect>,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    mappings: BTreeMap<PublicPort, Found>,
    /// Calls that change something.
    changes: usize,
    calls: usize,
    /// The next calls that change something are done, and their answers lost.
    lost_answers: usize,
    /// Dialects that refuse everything.
    forbidden: Vec<Dialect>,
}

#[async_trait]
impl Gateway for Model {
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1, 1)
    }

    fn local(&self) -> Ipv4Addr {
        LOCAL
    }

    fn dialects(&self) -> Vec<Dialect> {
        self.dialects.clone()
    }

    async fn look(&self, port: PublicPort) -> Result<Option<Found>, Refusal> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        match self.dialects.contains(&Dialect::Igd) {
            true => Ok(state.mappings.get(&port).cloned()),
            false => Err(Refusal::Unsupported("no IGD".into())),
        }
    }

    async fn map(&self, dialect: Dialect, request: &Request) -> Result<Grant, Refusal> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        state.changes += 1;
        if state.forbidden.contains(&dialect) {
            return Err(Refusal::Forbidden("model".into()));
        }
        let description = match dialect {
            Dialect::Igd => request.description.clone(),
            Dialect::Pcp => format!("PCP {:?}", request.nonce),
            Dialect::NatPmp => "NAT-PMP".into(),
        };
        if let Some(found) = state.mappings.get(&request.port) {
            // As miniupnpd: IGD overwrites what leads to the same host; PCP wants its nonce.
            let may_change = match dialect {
                Dialect::Igd => found.client == request.local,
                _ => found.client == request.local && found.description == description,
            };
            if !may_change {
                return Err(Refusal::Taken("model".into()));
            }
        }
        let found = Found { client: request.local, to: request.to.get(), description };
        state.mappings.insert(request.port, found);
        answer(&mut state, Grant { lease: request.lease })
    }

    async fn unmap(&self, _: Dialect, request: &Request) -> Result<(), Refusal> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        state.changes += 1;
        if state.mappings.get(&request.port).is_some_and(|found| found.client != LOCAL) {
            return Err(Refusal::Forbidden("model".into()));
        }
        state.mappings.remove(&request.port);
        answer(&mut state, ())
    }

    async fn pulse(&self) -> Result<Pulse, Refusal> {
        Ok(Pulse { external: None, has_restarted: false })
    }
}

fn answer<T>(state: &mut State, good: T) -> Result<T, Refusal> {
    if state.lost_answers == 0 {
        return Ok(good);
    }
    state.lost_answers -= 1;
    Err(Refusal::Silent("model".into()))
}

fn port(number: u16) -> PublicPort {
    format!("tcp/{number}").parse().unwrap()
}

fn wishes(ports: &[(u16, u16)]) -> Wishes {
    ports.iter().map(|(outside, to)| (port(*outside), NonZeroU16::new(*to).unwrap())).collect()
}

fn foreign(client: Ipv4Addr, to: u16) -> Found {
    Found { client, to, description: "game".into() }
}

fn mapper(journal: Journal) -> Mapper {
    let mut count = 0;
    Mapper::new("node", 3600, journal, move || {
        count += 1;
        Nonce([count; 12])
    })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn rounds(mapper: &mut Mapper, model: &Model, wanted: &Wishes, from: u64, count: u64) -> u64 {
    let kept = BTreeSet::new();
    for round in 0..count {
        run(mapper.round(model, wanted, &kept, from + round * LONGEST_WAIT));
    }
    from + count * LONGEST_WAIT
}

fn changes(model: &Model) -> usize {
    model.state.lock().unwrap().changes
}

fn calls(model: &Model) -> usize {
    model.state.lock().unwrap().calls
}

#[test]
fn what_is_as_wanted_costs_no_call_until_half_of_its_lease() {
    let model = Model { dialects: vec![Dialect::Igd], ..Default::default() };
    let (mut mapper, wanted, none) = (mapper(Journal::in_memory()), wishes(&[(443, 8443), (80, 80)]), BTreeSet::new());
    run(mapper.round(&model, &wanted, &none, 1000));
    let before = calls(&model);
    run(mapper.round(&model, &wanted, &none, 1001));
    run(mapper.round(&model, &wanted, &none, 1000 + 3600 * 44 / 100));
    assert_eq!(calls(&model), before);
    let next = mapper.next(&model, &wanted, &none, 1001).unwrap();
    assert!((1000 + 1620..=1000 + 1980).contains(&next), "{next}");
    run(mapper.round(&model, &wanted, &none, 1000 + 1981));
    assert_eq!(changes(&model), 4, "both are renewed, and nothing is removed for it");
}

#[test]
fn what_others_have_stays_theirs_also_on_our_own_address() {
    for dialects in [vec![Dialect::Pcp, Dialect::Igd], vec![Dialect::Igd], vec![Dialect::Igd, Dialect::NatPmp]] {
        let model = Model { dialects, ..Default::default() };
        let others = [(port(443), foreign(LOCAL, 443)), (port(80), foreign(OTHER, 80))];
        model.state.lock().unwrap().mappings = others.clone().into();
        let mut mapper = mapper(Journal::in_memory());
        let now = rounds(&mut mapper, &model, &wishes(&[(443, 443), (80, 80)]), 1000, 3);
        assert!(matches!(&mapper.states()[&port(443)], MappingState::Failed { cause } if cause.contains("game")));
        rounds(&mut mapper, &model, &wishes(&[]), now, 3);
        assert_eq!(model.state.lock().unwrap().mappings, others.into());
        assert_eq!(changes(&model), 0);
    }
}

#[test]
fn a_mapping_that_another_took_over_is_left_to_them() {
    let model = Model { dialects: vec![Dialect::Igd], ..Default::default() };
    let mut mapper = mapper(Journal::in_memory());
    let now = rounds(&mut mapper, &model, &wishes(&[(443, 443)]), 1000, 1);
    let taken = [(port(443), foreign(OTHER, 443))];
    model.state.lock().unwrap().mappings = taken.clone().into();
    rounds(&mut mapper, &model, &wishes(&[]), now, 2);
    assert_eq!(model.state.lock().unwrap().mappings, taken.into());
    assert!(mapper.held().is_empty());
}

#[test]
fn one_lost_mapping_makes_all_be_asserted_in_the_same_round() {
    let model = Model { dialects: vec![Dialect::Igd], ..Default::default() };
    let (mut mapper, wanted) = (mapper(Journal::in_memory()), wishes(&[(1, 1), (2, 2), (3, 3)]));
    run(mapper.round(&model, &wanted, &BTreeSet::new(), 1000));
    model.state.lock().unwrap().mappings.clear();
    let due = mapper.next(&model, &wanted, &BTreeSet::new(), 1000).unwrap();
    run(mapper.round(&model, &wanted, &BTreeSet::new(), due));
    run(mapper.round(&model, &wanted, &BTreeSet::new(), due));
    assert_eq!(model.state.lock().unwrap().mappings.len(), 3);
}

#[test]
fn what_one_dialect_refuses_the_next_may_do() {
    let model = Model { dialects: vec![Dialect::Pcp, Dialect::Igd], ..Default::default() };
    model.state.lock().unwrap().forbidden = vec![Dialect::Pcp];
    let mut mapper = mapper(Journal::in_memory());
    rounds(&mut mapper, &model, &wishes(&[(443, 443)]), 1000, 1);
    assert_eq!(mapper.states()[&port(443)], MappingState::Mapped { dialect: Dialect::Igd, lease: 3600 });
}

#[test]
fn many_ports_are_dealt_with_in_rounds_that_end() {
    let model = Model { dialects: vec![Dialect::Igd], ..Default::default() };
    let many: Vec<_> = (1..=40).map(|number| (number, number)).collect();
    let (mut mapper, wanted, none) = (mapper(Journal::in_memory()), wishes(&many), BTreeSet::new());
    for done in [16, 32, 40] {
        assert!(mapper.next(&model, &wanted, &none, 1000).unwrap() <= 1000);
        run(mapper.round(&model, &wanted, &none, 1000));
        assert_eq!(mapper.states().len(), done);
    }
    assert!(mapper.next(&model, &wanted, &none, 1000).unwrap() > 1000);
    mapper.assert_all();
    assert!(mapper.next(&model, &wanted, &none, 1000).unwrap() <= 1000);
}

#[test]
fn what_dns_still_names_stays_mapped() {
    let model = Model { dialects: vec![Dialect::Igd], ..Default::default() };
    let mut mapper = mapper(Journal::in_memory());
    let now = rounds(&mut mapper, &model, &wishes(&[(443, 443)]), 1000, 1);
    run(mapper.round(&model, &wishes(&[]), &[port(443)].into(), now));
    assert_eq!(model.state.lock().unwrap().mappings.len(), 1);
    run(mapper.round(&model, &wishes(&[]), &BTreeSet::new(), now));
    assert!(model.state.lock().unwrap().mappings.is_empty());
}

fn any_dialects() -> impl Strategy<Value = Vec<Dialect>> {
    prop_oneof![
        Just(vec![Dialect::Pcp, Dialect::Igd, Dialect::NatPmp]),
        Just(vec![Dialect::Igd]),
        Just(vec![Dialect::Pcp]),
        Just(vec![Dialect::NatPmp]),
    ]
}

fn any_wishes() -> impl Strategy<Value = Vec<(u16, u16)>> {
    prop::collection::btree_map(1_u16..8, 1_u16..4, 0..6).prop_map(|wishes| wishes.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Wishes change, answers get lost, the process is killed and the gateway forgets: afterwards exactly what is wanted
    /// is mapped, others have what they had, and nothing more is called.
    #[test]
    fn any_state_becomes_the_wanted_one(
        dialects in any_dialects(),
        others in prop::collection::btree_set(1_u16..8, 0..3),
        steps in prop::collection::vec((any_wishes(), 0_usize..3, any::<bool>(), any::<bool>()), 1..5),
        last in any_wishes(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let model = Model { dialects, ..Default::default() };
        let others: BTreeMap<_, _> = others.iter().map(|number| (port(*number), foreign(OTHER, *number))).collect();
        model.state.lock().unwrap().mappings = others.clone();
        let mut mapper = mapper(Journal::open(dir.path()).unwrap());
        let mut now = 1_000_000;
        for (wanted, lost_answers, is_killed, forgets) in steps {
            model.state.lock().unwrap().lost_answers = lost_answers;
            now = rounds(&mut mapper, &model, &wishes(&wanted), now, 1);
            if is_killed {
                mapper = super::tests::mapper(Journal::open(dir.path()).unwrap());
            }
            if forgets {
                model.state.lock().unwrap().mappings = others.clone();
                mapper.assert_all();
            }
        }
        model.state.lock().unwrap().lost_answers = 0;
        let wanted = wishes(&last);
        now = rounds(&mut mapper, &model, &wanted, now, 4);
        let is_free = |port: &PublicPort| !others.contains_key(port);
        let mut expected: BTreeMap<_, _> =
            wanted.iter().filter(|(port, _)| is_free(port)).map(|(port, to)| (*port, (LOCAL, to.get()))).collect();
        expected.extend(others.iter().map(|(port, found)| (*port, (found.client, found.to))));
        let mappings = model.state.lock().unwrap().mappings.clone();
        let found: BTreeMap<_, _> = mappings.iter().map(|(port, found)| (*port, (found.client, found.to))).collect();
        prop_assert_eq!(found, expected);
        if wanted.keys().all(is_free) {
            let before = changes(&model);
            run(mapper.round(&model, &wanted, &BTreeSet::new(), now - LONGEST_WAIT + 1));
            prop_assert_eq!(changes(&model), before);
        }
    }
}
