//! The device's side of the cycle: when to ask whom, by which way, and when to catch up.

use std::net::SocketAddr;
use std::time::Duration;

use super::payload::{Answer, AnswerFlags};
use crate::heads::Heads;
use crate::wire::random_bytes;
use crate::{LogIndex, Moment, NoiseKey, Random};

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Catching up takes no longer, or is begun again.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(300);
/// The interval before any master has said one.
const INTERVAL: Duration = Duration::from_secs(30);
/// No master's word makes it shorter or longer.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(600);
/// Hints count this often.
const HINTS: Duration = Duration::from_secs(10);
/// So many asks go unanswered before the next address gets its turn.
const MISSES: u32 = 2;
/// Every so many asks somebody else is asked, so that no server keeps anything back for long.
const SECOND_OPINION: u32 = 8;
/// After this long with a backup or over TCP the first choice gets another try.
const FIRST_CHOICE: Duration = Duration::from_secs(600);

/// A node that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its key.
    pub key: NoiseKey,
    /// Where it may be.
    pub addresses: Vec<SocketAddr>,
}

/// How to reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By datagrams.
    Udp,
    /// By a connection, where datagrams do not pass.
    Tcp,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this server; call it first where `fresh` says so, or where there is no session.
    Ask {
        /// Whom.
        server: NoiseKey,
        /// Where.
        at: SocketAddr,
        /// By which way.
        way: Way,
        /// Whether the session is of doubtful use: the last ask was lost.
        fresh: bool,
    },
    /// Open a connection to this server and catch up.
    CatchUp {
        /// With whom.
        server: NoiseKey,
        /// Where.
        at: SocketAddr,
    },
}

/// What the asker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The next cycle.
    ToAsk,
    /// The answer of this server.
    ForAnswer(NoiseKey, Moment),
    /// The moment to connect.
    ToCatchUp(NoiseKey, SocketAddr),
    /// The end of a connection.
    ForCatchUp(Moment),
}

/// When to ask whom.
pub struct Asker {
    servers: Vec<Server>,
    /// Which server, and which of its addresses.
    place: (usize, usize),
    way: Way,
    waiting: Waiting,
    next: Moment,
    interval: Duration,
    misses: u32,
    /// Asks since the first.
    asks: u32,
    /// Asks that nobody answered, by any way.
    unanswered: u32,
    hinted: Option<Moment>,
    tried_first_choice: Moment,
}

impl Asker {
    /// Asks these servers, the first before the others. The first ask comes at once, give or take `spread`.
    pub fn new(servers: Vec<Server>, spread: Duration, now: Moment, random: &mut dyn Random) -> Self {
        Self {
            servers,
            place: (0, 0),
            way: Way::Udp,
            waiting: Waiting::ToAsk,
            next: now + up_to(spread, random),
            interval: INTERVAL,
            misses: 0,
            asks: 0,
            unanswered: 0,
            hinted: None,
            tried_first_choice: now,
        }
    }

    /// Asks these from here on.
    pub fn set_servers(&mut self, servers: Vec<Server>) {
        if servers != self.servers {
            self.servers = servers;
            self.place = (0, 0);
        }
    }

    /// Nobody needs to call [`Asker::poll`] before this.
    pub fn due(&self) -> Moment {
        match self.waiting {
            Waiting::ToAsk | Waiting::ToCatchUp(..) => self.next,
            Waiting::ForAnswer(_, since) => since + PATIENCE,
            Waiting::ForCatchUp(since) => since + CATCH_UP_PATIENCE,
        }
    }

    /// What to do at this moment.
    pub fn poll(&mut self, now: Moment, random: &mut dyn Random) -> Option<Step> {
        if now < self.due() {
            return None;
        }
        match self.waiting {
            Waiting::ForAnswer(server, _) if !self.is_at(server) => self.end(now),
            Waiting::ForAnswer(..) => self.miss(now, random),
            Waiting::ForCatchUp(_) => self.end(now + up_to(self.interval, random)),
            Waiting::ToCatchUp(server, at) => {
                self.waiting = Waiting::ForCatchUp(now);
                return Some(Step::CatchUp { server, at });
            }
            Waiting::ToAsk => {}
        }
        (now >= self.next).then(|| self.ask(now)).flatten()
    }

    /// Whether this server's answer is waited for.
    pub fn waits_for(&self, server: NoiseKey) -> bool {
        matches!(self.waiting, Waiting::ForAnswer(asked, _) if asked == server)
    }

    /// An authentic answer has come; `has_news` says that there is something to report. It may be the answer to no question, and then says as much.
    #[allow(clippy::too_many_arguments)]
    pub fn answered(
        &mut self,
        server: NoiseKey,
        at: SocketAddr,
        answer: &Answer,
        own: &Heads,
        has_news: bool,
        now: Moment,
        random: &mut dyn Random,
    ) {
        let asked = match self.waiting {
            Waiting::ForAnswer(asked, _) => asked == server,
            Waiting::ToAsk => true,
            Waiting::ToCatchUp(..) | Waiting::ForCatchUp(_) => false,
        };
        if !asked {
            return;
        }
        (self.misses, self.unanswered) = (0, 0);
        self.interval = Duration::from_secs(u64::from(answer.interval)).clamp(SHORTEST, LONGEST);
        self.end(now + jittered(self.interval, random));
        if answer.index < own.index && self.servers.len() > 1 {
            // It knows less than this node: somebody else may know more.
            self.advance(now);
        }
        let behind = answer.heads != own.digest() && answer.index >= own.index;
        if behind || has_news || answer.flags.contains(AnswerFlags::WANTS_STATUS) {
            self.waiting = Waiting::ToCatchUp(server, at);
            self.next = now;
        }
    }

    /// A connection to catch up has ended, well or not.
    pub fn caught_up(&mut self, is_done: bool, now: Moment, random: &mut dyn Random) {
        if matches!(self.waiting, Waiting::ForCatchUp(_)) {
            // Whoever was turned away comes again before the next cycle, but not with all the others.
            let after = if is_done { jittered(self.interval, random) } else { up_to(self.interval / 2, random) };
            self.end(now + after);
        }
    }

    /// A master says that the log has reached `index`.
    pub fn hinted(&mut self, index: LogIndex, own: &Heads, now: Moment, random: &mut dyn Random) {
        let too_often = self.hinted.is_some_and(|last| now.since(last) < HINTS);
        if index > own.index && !too_often {
            self.hinted = Some(now);
            self.hasten(now + up_to(HINTS.min(self.interval / 3), random));
        }
    }

    /// There is something to tell: ask soon.
    pub fn hasten(&mut self, until: Moment) {
        if self.waiting == Waiting::ToAsk {
            self.next = self.next.min(until);
        }
    }

    fn ask(&mut self, now: Moment) -> Option<Step> {
        let elsewhere = self.place != (0, 0) || self.way == Way::Tcp;
        if elsewhere && now.since(self.tried_first_choice) >= FIRST_CHOICE {
            (self.place, self.way) = ((0, 0), Way::Udp);
            self.misses = 0;
            self.tried_first_choice = now;
        }
        self.asks = self.asks.wrapping_add(1);
        let is_second = self.asks.is_multiple_of(SECOND_OPINION) && self.servers.len() > 1 && self.misses == 0;
        let (server, address) = if is_second { ((self.place.0 + 1) % self.servers.len(), 0) } else { self.place };
        let server = self.servers.get(server);
        let Some((server, at)) = server.and_then(|server| Some((server, *server.addresses.get(address)?))) else {
            self.advance(now);
            self.next = now + INTERVAL;
            return None;
        };
        self.waiting = Waiting::ForAnswer(server.key, now);
        Some(Step::Ask { server: server.key, at, way: self.way, fresh: self.misses > 0 })
    }

    fn is_at(&self, server: NoiseKey) -> bool {
        self.servers.get(self.place.0).is_some_and(|chosen| chosen.key == server)
    }

    fn miss(&mut self, now: Moment, random: &mut dyn Random) {
        self.misses += 1;
        self.unanswered = self.unanswered.saturating_add(1);
        if self.misses >= MISSES {
            self.misses = 0;
            self.advance(now);
        }
        let patience = Duration::from_secs(1 << self.unanswered.min(9));
        self.end(now + jittered(patience.min(self.interval.max(INTERVAL)), random));
    }

    /// The next address, the next server; and when all had their turn, the other way.
    fn advance(&mut self, now: Moment) {
        let (server, address) = self.place;
        let addresses = self.servers.get(server).map_or(0, |server| server.addresses.len());
        if address + 1 < addresses {
            self.place = (server, address + 1);
        } else if server + 1 < self.servers.len() {
            self.place = (server + 1, 0);
        } else {
            self.place = (0, 0);
            self.way = match self.way {
                Way::Udp => Way::Tcp,
                Way::Tcp => Way::Udp,
            };
        }
        if self.place == (0, 0) || server == 0 {
            self.tried_first_choice = now;
        }
    }

    fn end(&mut self, next: Moment) {
        self.waiting = Waiting::ToAsk;
        self.next = next;
    }
}

/// Between nothing and `most`.
fn up_to(most: Duration, random: &mut dyn Random) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    let chosen = u64::from_be_bytes(random_bytes(random)) % most.saturating_add(1).max(1);
    Duration::from_millis(chosen)
}

/// Nine tenths of it to all of it, so that nobody's interval is longer than the NAT's.
fn jittered(whole: Duration, random: &mut dyn Random) -> Duration {
    whole * 9 / 10 + up_to(whole / 10, random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chance::Chance;
    use crate::{EntryId, Hash, Head};

    const OWN: Heads = Heads {
        authority: Head { position: 1, entry: EntryId::of([1; 32]) },
        index: 10,
        checkpoint: Hash::of([2; 32]),
    };
    const MASTER: NoiseKey = NoiseKey::of([1; 32]);
    const BACKUP: NoiseKey = NoiseKey::of([2; 32]);

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 7_000))
    }

    fn asker() -> (Asker, Chance) {
        let servers =
            vec![Server { key: MASTER, addresses: vec![at(1)] }, Server { key: BACKUP, addresses: vec![at(2)] }];
        let mut chance = Chance::new(1);
        (Asker::new(servers, Duration::ZERO, Moment::default(), &mut chance), chance)
    }

    fn answer(index: LogIndex, interval: u16) -> Answer {
        let heads = Heads { index, ..OWN }.digest();
        Answer { heads, index, interval, flags: AnswerFlags::default() }
    }

    fn seconds(duration: Moment) -> u64 {
        duration.as_millis() / 1_000
    }

    /// Lets time pass to the next step.
    fn next(asker: &mut Asker, chance: &mut Chance, now: &mut Moment) -> Step {
        loop {
            if let Some(step) = asker.poll(*now, chance) {
                return step;
            }
            assert!(asker.due() > *now, "time goes on");
            *now = asker.due();
        }
    }

    #[test]
    fn a_quiet_device_asks_at_the_masters_interval() {
        let (mut asker, mut chance) = asker();
        let mut now = Moment::default();
        let mut others = 0;
        for _ in 0..24 {
            let step = next(&mut asker, &mut chance, &mut now);
            let Step::Ask { server, at, way: Way::Udp, fresh: false } = step else { panic!("it asks, not {step:?}") };
            others += u32::from(server == BACKUP);
            asker.answered(server, at, &answer(10, 120), &OWN, false, now, &mut chance);
            assert!((108..=120).contains(&seconds(Moment::from_millis(asker.due().since(now).as_millis() as u64))));
        }
        assert_eq!(others, 24 / SECOND_OPINION);
    }

    #[test]
    fn a_dead_master_costs_three_cycles_at_most_and_is_tried_again() {
        let (mut asker, mut chance) = asker();
        let mut now = Moment::default();
        next(&mut asker, &mut chance, &mut now);
        asker.answered(MASTER, at(1), &answer(10, 30), &OWN, false, now, &mut chance);
        let died = now;
        while !matches!(next(&mut asker, &mut chance, &mut now), Step::Ask { server: BACKUP, .. }) {}
        assert!(now.since(died) < Duration::from_secs(90));
        loop {
            asker.answered(BACKUP, at(2), &answer(10, 30), &OWN, false, now, &mut chance);
            if matches!(next(&mut asker, &mut chance, &mut now), Step::Ask { server: MASTER, .. }) {
                break;
            }
            assert!(now.since(died) < FIRST_CHOICE * 2);
        }
    }

    #[test]
    fn where_udp_is_blocked_it_asks_over_tcp() {
        let (mut asker, mut chance) = asker();
        let mut now = Moment::default();
        loop {
            match next(&mut asker, &mut chance, &mut now) {
                Step::Ask { way: Way::Tcp, server, at, .. } => {
                    asker.answered(server, at, &answer(10, 120), &OWN, false, now, &mut chance);
                    break;
                }
                Step::Ask { .. } => assert!(now < Moment::from_millis(120_000)),
                Step::CatchUp { .. } => panic!("there is nothing to catch up"),
            }
        }
        let step = next(&mut asker, &mut chance, &mut now);
        assert!(matches!(step, Step::Ask { way: Way::Tcp, fresh: false, .. }));
    }

    #[test]
    fn it_catches_up_with_who_knows_more_and_not_with_who_knows_less() {
        let (mut asker, mut chance) = asker();
        let mut now = Moment::default();
        next(&mut asker, &mut chance, &mut now);
        asker.answered(MASTER, at(1), &answer(9, 30), &OWN, false, now, &mut chance);
        assert!(matches!(next(&mut asker, &mut chance, &mut now), Step::Ask { server: BACKUP, .. }));
        asker.answered(BACKUP, at(2), &answer(11, 30), &OWN, false, now, &mut chance);
        assert_eq!(next(&mut asker, &mut chance, &mut now), Step::CatchUp { server: BACKUP, at: at(2) });
        asker.caught_up(false, now, &mut chance);
        assert!(asker.due().since(now) <= Duration::from_secs(15));
    }

    #[test]
    fn hints_bring_the_next_ask_forward_but_not_often() {
        let (mut asker, mut chance) = asker();
        let mut now = Moment::default();
        next(&mut asker, &mut chance, &mut now);
        asker.answered(MASTER, at(1), &answer(10, 120), &OWN, false, now, &mut chance);
        asker.hinted(10, &OWN, now, &mut chance);
        assert!(asker.due().since(now) > HINTS);
        asker.hinted(11, &OWN, now, &mut chance);
        assert!(asker.due().since(now) <= HINTS);
        next(&mut asker, &mut chance, &mut now);
        asker.answered(MASTER, at(1), &answer(10, 120), &OWN, false, now, &mut chance);
        asker.hinted(12, &OWN, Moment::from_millis(9_999), &mut chance);
        assert!(asker.due().since(now) > HINTS);
    }

    #[test]
    fn an_answer_of_somebody_else_ends_no_waiting() {
        let (mut asker, mut chance) = asker();
        let mut now = Moment::default();
        next(&mut asker, &mut chance, &mut now);
        asker.answered(BACKUP, at(2), &answer(11, 30), &OWN, false, now, &mut chance);
        assert_eq!(asker.due(), now + PATIENCE);
    }

    #[test]
    fn without_servers_it_waits() {
        let mut chance = Chance::new(1);
        let mut asker = Asker::new(Vec::new(), Duration::ZERO, Moment::default(), &mut chance);
        assert_eq!(asker.poll(Moment::from_millis(5), &mut chance), None);
        assert!(asker.due() > Moment::from_millis(5));
    }
}
