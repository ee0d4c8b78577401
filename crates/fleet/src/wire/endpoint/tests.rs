use zeroize::Zeroizing;

use super::super::load::{HANDSHAKES, OF_ONE_ADDRESS, UNCONFIRMED};
use super::super::session;
use super::*;
use crate::FleetId;
use crate::wire::chance::Chance;

const NOW: Moment = Moment::from_millis(500);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 7_000))
}

fn endpoint(key: u8) -> Endpoint {
    let identity = Identity::new(Zeroizing::new([key; 32]), FleetId::of([9; 32]));
    Endpoint::new(identity, NOW, &mut Chance::new(u64::from(key)))
}

fn members(_: NoiseKey) -> Option<Standing> {
    Some(Standing::Member)
}

fn take(endpoint: &mut Endpoint, from: u8, datagram: &[u8], now: Moment) -> Result<Arrival, Refusal> {
    endpoint.receive(address(from), datagram, &members, now, &mut Chance::new(u64::from(from)))
}

fn reply(arrival: Result<Arrival, Refusal>) -> Vec<u8> {
    let Ok(Arrival::Reply(datagram)) = arrival else { panic!("there is a reply, not {arrival:?}") };
    datagram
}

fn message(arrival: Result<Arrival, Refusal>) -> Message {
    let Ok(Arrival::Message(message)) = arrival else { panic!("there is a message, not {arrival:?}") };
    message
}

/// A device (at address 1) and a master (at 2) with a session that the master has not heard of yet.
fn connected(now: Moment) -> (Endpoint, Endpoint) {
    let (mut device, mut master) = (endpoint(1), endpoint(2));
    reconnect(&mut device, &mut master, now);
    (device, master)
}

fn reconnect(device: &mut Endpoint, master: &mut Endpoint, now: Moment) {
    let call = device.dial(master.identity().public(), now, &mut Chance::new(now.as_millis()));
    let response = reply(take(master, 1, &call, now));
    assert!(response.len() <= call.len());
    assert!(matches!(take(device, 2, &response, now), Ok(Arrival::Connected(_))));
}

fn ask(device: &mut Endpoint, master: &Endpoint, payload: &[u8]) -> Vec<u8> {
    device.seal(master.identity().public(), payload, NOW).unwrap().1
}

#[test]
fn a_question_is_answered_and_never_by_more_than_it_was() {
    let (mut device, mut master) = connected(NOW);
    let asked = ask(&mut device, &master, b"heads");
    let asked = message(take(&mut master, 1, &asked, NOW));
    assert_eq!((asked.peer, &asked.payload[..]), (device.identity().public(), &b"heads"[..]));
    assert!(master.answer(&asked, b"answer").is_none());
    let answer = master.answer(&asked, b"index").unwrap();
    assert_eq!(message(take(&mut device, 2, &answer, NOW)).payload, b"index");
}

#[test]
fn a_responder_says_nothing_to_whoever_has_not_shown_the_keys() {
    let (mut device, mut master) = connected(NOW);
    let peer = device.identity().public();
    assert!(master.seal(peer, b"start", NOW).is_none());
    let asked = ask(&mut device, &master, b"");
    message(take(&mut master, 1, &asked, NOW));
    assert!(master.seal(peer, b"start", NOW).is_some());
}

#[test]
fn a_replayed_datagram_is_refused_and_moves_nobody() {
    let (mut device, mut master) = connected(NOW);
    let asked = ask(&mut device, &master, b"once");
    message(take(&mut master, 1, &asked, NOW));
    assert_eq!(take(&mut master, 66, &asked, NOW).unwrap_err(), Refusal::Replay);
    assert_eq!(master.address(device.identity().public()), Some(address(1)));
    assert_eq!(master.refusals().of(Refusal::Replay), 1);
}

#[test]
fn reordered_datagrams_count_and_only_the_newest_moves_the_peer() {
    let (mut device, mut master) = connected(NOW);
    let [first, second, third] = [b"1", b"2", b"3"].map(|payload| ask(&mut device, &master, payload));
    for (from, datagram, payload) in [(3, &third, b"3"), (1, &first, b"1"), (1, &second, b"2")] {
        assert_eq!(message(take(&mut master, from, datagram, NOW)).payload, payload);
    }
    assert_eq!(master.address(device.identity().public()), Some(address(3)));
}

#[test]
fn truncated_and_changed_datagrams_are_refused_and_the_session_lives() {
    let (mut device, mut master) = connected(NOW);
    let asked = ask(&mut device, &master, b"heads and vitals");
    for length in 0..asked.len() {
        assert!(take(&mut master, 1, &asked[..length], NOW).is_err());
    }
    for place in 0..asked.len() {
        let mut changed = asked.clone();
        changed[place] ^= 1;
        assert!(take(&mut master, 1, &changed, NOW).is_err(), "byte {place} matters");
    }
    let oversized = [&asked[..], &[0; 1200]].concat();
    assert_eq!(take(&mut master, 1, &oversized, NOW).unwrap_err(), Refusal::Shape);
    assert_eq!(message(take(&mut master, 1, &asked, NOW)).payload, b"heads and vitals");
    assert!(device.seal(master.identity().public(), &[0; LONGEST_PAYLOAD + 1], NOW).is_none());
}

#[test]
fn a_session_lives_a_day() {
    let (mut device, mut master) = connected(NOW);
    let peer = master.identity().public();
    let (before, after) = (Moment::from_millis(500 + 86_399_999), NOW + session::LIFETIME);
    let late = device.seal(peer, b"late", before).unwrap().1;
    assert!(device.seal(peer, b"too late", after).is_none());
    assert_eq!(take(&mut master, 1, &late, after).unwrap_err(), Refusal::Session);
    assert_eq!(device.age(peer, after), None);
    device.expire(after);
    master.expire(after);
    assert_eq!((device.sessions(), master.sessions()), (0, 0));
}

#[test]
fn a_new_session_takes_over_and_the_old_one_opens_what_was_under_way() {
    let (mut device, mut master) = connected(NOW);
    let late = ask(&mut device, &master, b"late");
    let soon = NOW + Duration::from_secs(5);
    let first = ask(&mut device, &master, b"first");
    message(take(&mut master, 1, &first, NOW));
    reconnect(&mut device, &mut master, soon);
    let asked = ask(&mut device, &master, b"next");
    message(take(&mut master, 1, &asked, soon));
    assert_eq!(message(take(&mut master, 1, &late, soon)).payload, b"late");
    master.expire(soon + REPLACED);
    assert_eq!(master.sessions(), 1);
    for round in 1..20 {
        let now = soon + Duration::from_secs(round);
        reconnect(&mut device, &mut master, now);
        let asked = ask(&mut device, &master, b"again");
        message(take(&mut master, 1, &asked, now));
    }
    assert!(master.sessions() <= 2 && device.sessions() <= 2);
}

#[test]
fn who_has_no_place_gets_no_answer() {
    let (mut device, mut master) = (endpoint(1), endpoint(2));
    let call = device.dial(master.identity().public(), NOW, &mut Chance::new(1));
    let refused = master.receive(address(1), &call, &|_| None, NOW, &mut Chance::new(2));
    assert_eq!(refused.unwrap_err(), Refusal::Peer);
    assert_eq!(master.sessions(), 0);
}

#[test]
fn a_forgotten_peer_is_not_heard() {
    let (mut device, mut master) = connected(NOW);
    let asked = ask(&mut device, &master, b"heads");
    master.forget(device.identity().public());
    assert_eq!(take(&mut master, 1, &asked, NOW).unwrap_err(), Refusal::Session);
}

#[test]
fn a_flood_without_our_key_is_dropped_for_the_price_of_one_mac() {
    let mut master = endpoint(2);
    let mut stranger = endpoint(1);
    let call = stranger.dial(NoiseKey::of([7; 32]), NOW, &mut Chance::new(1));
    for _ in 0..10_000 {
        assert_eq!(take(&mut master, 1, &call, NOW).unwrap_err(), Refusal::Mac);
    }
    assert_eq!((master.sessions(), master.waiting.len()), (0, 0));
}

#[test]
fn a_flood_of_handshakes_meets_cookies_and_bounded_memory() {
    let mut master = endpoint(2);
    let call = |seed: u64| endpoint(1).dial(NoiseKey::of(*master_key().bytes()), NOW, &mut Chance::new(seed));
    let mut cookies = 0;
    for seed in 0..300 {
        // Each from a forged address.
        let got = reply(take(&mut master, (seed % 250) as u8, &call(seed), NOW));
        cookies += u32::from(matches!(Datagram::parse(&got), Ok(Datagram::Cookie { .. })));
    }
    assert_eq!(cookies, 300 - UNCONFIRMED);
    assert_eq!(master.sessions(), UNCONFIRMED as usize);
    for second in 1..10 {
        let now = Moment::from_millis(second * 1_000);
        (0..100).for_each(|seed| drop(take(&mut master, 1, &call(seed), now)));
    }
    assert_eq!((master.sessions(), master.waiting.len()), (WAITING, WAITING));
    master.expire(NOW + session::LIFETIME * 2);
    assert_eq!(master.sessions(), 0);
}

fn master_key() -> NoiseKey {
    endpoint(2).identity().public()
}

#[test]
fn under_load_a_cookie_opens_the_door_where_it_was_sent_to_but_not_often() {
    let (mut device, mut master) = (endpoint(1), endpoint(2));
    for seed in 0..u64::from(UNCONFIRMED) {
        let call = endpoint(3).dial(master_key(), NOW, &mut Chance::new(seed));
        reply(take(&mut master, 3, &call, NOW));
    }
    let call = device.dial(master_key(), NOW, &mut Chance::new(1_000));
    let cookie = reply(take(&mut master, 1, &call, NOW));
    assert!(cookie.len() < call.len());
    let again = reply(take(&mut device, 2, &cookie, NOW));
    assert_eq!(take(&mut device, 2, &cookie, NOW).unwrap_err(), Refusal::Cookie);
    // A thief of the cookie, who is elsewhere, gets another of his own.
    let other = reply(take(&mut master, 66, &again, NOW));
    assert!(matches!(Datagram::parse(&other), Ok(Datagram::Cookie { .. })));
    let response = reply(take(&mut master, 1, &again, NOW));
    assert!(matches!(take(&mut device, 2, &response, NOW), Ok(Arrival::Connected(_))));
    // The cookie lasts: the next call carries it from the beginning.
    let next = device.dial(master_key(), NOW, &mut Chance::new(2_000));
    assert!(matches!(Datagram::parse(&reply(take(&mut master, 1, &next, NOW))), Ok(Datagram::Response { .. })));
    let busy = (0..100).find(|_| take(&mut master, 1, &next, NOW).is_err_and(|refusal| refusal == Refusal::Busy));
    assert_eq!(busy, Some(i32::from(OF_ONE_ADDRESS) - 2));
    const { assert!(HANDSHAKES > UNCONFIRMED) }
}

#[test]
fn confirmed_handshakes_call_for_no_cookies() {
    let mut master = endpoint(2);
    for seed in 0..u64::from(UNCONFIRMED) * 2 {
        let mut device = endpoint(1);
        let call = device.dial(master_key(), NOW, &mut Chance::new(seed));
        let response = reply(take(&mut master, 1, &call, NOW));
        assert!(matches!(take(&mut device, 2, &response, NOW), Ok(Arrival::Connected(_))));
        let asked = ask(&mut device, &master, b"");
        message(take(&mut master, 1, &asked, NOW));
    }
}

#[test]
fn a_replayed_call_displaces_no_session() {
    let (mut device, mut master) = (endpoint(1), endpoint(2));
    let call = device.dial(master_key(), NOW, &mut Chance::new(1));
    let response = reply(take(&mut master, 1, &call, NOW));
    take(&mut device, 2, &response, NOW).unwrap();
    (0..20).for_each(|_| drop(take(&mut master, 66, &call, NOW)));
    let asked = ask(&mut device, &master, b"heads");
    message(take(&mut master, 1, &asked, NOW));
    (0..20).for_each(|_| drop(take(&mut master, 66, &call, NOW)));
    let asked = ask(&mut device, &master, b"heads");
    message(take(&mut master, 1, &asked, NOW));
    assert_eq!(master.address(device.identity().public()), Some(address(1)));
}

#[test]
fn strangers_share_a_bounded_place() {
    let mut master = endpoint(2);
    for number in 0..3 * STRANGERS as u8 {
        let now = Moment::from_millis(u64::from(number) * 100);
        let mut stranger = endpoint(number.wrapping_add(3));
        let chance = &mut Chance::new(u64::from(number));
        let call = stranger.dial(master_key(), now, chance);
        let strangers = |_| Some(Standing::Stranger);
        let response = reply(master.receive(address(number), &call, &strangers, now, chance));
        take(&mut stranger, 2, &response, now).unwrap();
        let asked = stranger.seal(master_key(), b"", now).unwrap().1;
        assert_eq!(message(take(&mut master, number, &asked, now)).standing, Standing::Stranger);
    }
    assert_eq!((master.sessions(), master.strangers.len()), (STRANGERS, STRANGERS));
}

#[test]
fn our_own_calls_are_bounded() {
    let mut device = endpoint(1);
    for key in 0..100 {
        device.dial(NoiseKey::of([key; 32]), NOW, &mut Chance::new(u64::from(key)));
    }
    assert_eq!(device.calls.len(), DIALING);
    device.expire(NOW + PATIENCE);
    assert_eq!(device.calls.len(), 0);
}

#[test]
fn any_bytes_are_refused_and_change_nothing() {
    let (device, _) = connected(NOW);
    let call = endpoint(1).dial(master_key(), NOW, &mut Chance::new(1));
    let (mut asking, master) = connected(NOW);
    let corpus = [call, ask(&mut asking, &master, b"heads"), vec![0x13; 77]];
    let device = std::cell::RefCell::new(device);
    fuzz::Corpus::of(corpus).run(|bytes| {
        let mut device = device.borrow_mut();
        let _ = take(&mut device, 1, bytes, NOW);
        assert!(device.sessions() <= WAITING + 1);
    });
}
