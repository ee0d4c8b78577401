//! Where the other nodes are: what a join key tells, and what the fleet's section `policies/voters/addresses` does.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use fleet::replica::Replica;
use fleet::whereabouts::{self, PATH};
use fleet::{JoinKey, NoiseKey};

use crate::port::Waker;

/// Names may mean other addresses after a while.
const LOOK_UP: Duration = Duration::from_secs(300);
/// One that nobody knows is asked for again sooner.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(20);

/// Addresses by whose they are.
pub type Addresses = BTreeMap<NoiseKey, Vec<SocketAddr>>;
/// Hosts and ports by whose they are.
type Names = BTreeMap<NoiseKey, Vec<String>>;

/// Where the other nodes are. Names are looked up by a thread of its own: that may take long.
pub struct Directory {
    join: Names,
    names: Names,
    asked: Option<Sender<Names>>,
    told: Receiver<Addresses>,
    telling: Sender<Addresses>,
}

impl Directory {
    /// What a join key tells, if there is one.
    pub fn of(join: Option<&JoinKey>) -> Self {
        let mut names = Names::new();
        for (address, key) in join.iter().flat_map(|join| &join.masters) {
            names.entry(*key).or_default().push(address.clone());
        }
        let (telling, told) = mpsc::channel();
        Self { join: names, names: Names::new(), asked: None, told, telling }
    }

    /// Reads what the fleet says. Gives the addresses that need no looking up, if there is anything else to know; the
    /// others come later.
    pub fn read(&mut self, replica: &Replica, waker: &Waker) -> Option<Addresses> {
        let mut names = self.join.clone();
        let section = replica.sections().iter().find(|(path, _)| path.as_str() == PATH);
        let told = section.and_then(|(_, section)| whereabouts::parse(&section.content.bytes.0).ok());
        for (device, addresses) in told.into_iter().flatten() {
            let authority = replica.authority();
            let key = authority.and_then(|authority| Some(authority.state().devices.get(&device)?.key().noise));
            if let Some(key) = key {
                // What the fleet says is younger than what a join key does.
                let known = names.entry(key).or_default();
                known.retain(|name| !addresses.contains(name));
                known.splice(0..0, addresses);
            }
        }
        if names == self.names {
            return None;
        }
        self.names = names.clone();
        let is_address = |name: &String| name.parse::<SocketAddr>().is_ok();
        let known =
            names.iter().map(|(key, names)| (*key, names.iter().filter_map(|name| name.parse().ok()).collect()));
        let known = known.collect();
        if !names.values().flatten().all(is_address) || self.asked.is_some() {
            self.ask(names, waker);
        }
        Some(known)
    }

    /// What was found of late.
    pub fn found(&self) -> Option<Addresses> {
        self.told.try_iter().last()
    }

    fn ask(&mut self, names: Names, waker: &Waker) {
        let asked = self.asked.get_or_insert_with(|| {
            let (asked, asks) = mpsc::channel();
            let (telling, waker) = (self.telling.clone(), waker.clone());
            // Without a thread there are no names; addresses do.
            let started = thread::Builder::new().name("names".to_owned()).spawn(move || work(&asks, &telling, &waker));
            if let Err(error) = started {
                eprintln!("names cannot be looked up: {error}");
            }
            asked
        });
        let _ = asked.send(names);
    }
}

fn work(asks: &Receiver<Names>, telling: &Sender<Addresses>, waker: &Waker) {
    let Ok(mut names) = asks.recv() else { return };
    loop {
        let mut are_all_known = true;
        let mut addresses = Addresses::new();
        for (key, names) in &names {
            let known = addresses.entry(*key).or_default();
            for name in names {
                match name.to_socket_addrs() {
                    Ok(found) => known.extend(found),
                    Err(_) => are_all_known = false,
                }
            }
        }
        if telling.send(addresses).is_err() {
            return;
        }
        waker.wake();
        match asks.recv_timeout(if are_all_known { LOOK_UP } else { LOOK_UP_AGAIN }) {
            Ok(others) => names = others,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
