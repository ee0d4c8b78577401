//! What is asked for while programs die, and what should therefore be there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::client::ClientError;
use api::{Client, Image, Instance, Kind, Network, Peer, Reference, State};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::chance::Chance;

/// Creates and deletes, all together.
const REQUESTS: usize = 50;
/// How long one request may take with all its repetitions: the core is away again and again, and what it refers to goes
/// only when the kills have ended.
const REQUEST: Duration = Duration::from_secs(300);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);

/// The resources that should be there, by name.
#[derive(Debug, Default)]
pub struct Wishes {
    pub networks: BTreeSet<String>,
    /// With their networks.
    pub instances: BTreeMap<String, String>,
    /// With their networks.
    pub peers: BTreeMap<String, Vec<String>>,
}

impl Wishes {
    /// Asks for one thing after the other; whatever becomes of the core, each request is repeated until it is accepted.
    /// No more than `most_instances` are wanted at a time, and two requests are up to `pause` apart.
    pub async fn ask(&mut self, client: &Client, chance: &mut Chance, most_instances: usize, pause: Duration) {
        for number in 0..REQUESTS {
            match chance.below(10) {
                0..6 => self.make(client, chance, number, most_instances).await,
                _ => self.drop_one(client, chance).await,
            }
            sleep(chance.up_to(pause)).await;
        }
    }

    /// Asks for the end of everything.
    pub async fn drop_all(&mut self, client: &Client) {
        for instance in std::mem::take(&mut self.instances).into_keys() {
            delete::<Instance>(client, &instance).await;
        }
        for peer in std::mem::take(&mut self.peers).into_keys() {
            delete::<Peer>(client, &peer).await;
        }
        for network in std::mem::take(&mut self.networks) {
            delete::<Network>(client, &network).await;
        }
    }

    /// How much is wanted.
    pub fn count(&self) -> String {
        let [networks, instances, peers] = [self.networks.len(), self.instances.len(), self.peers.len()];
        format!("{networks} networks, {instances} instances, {peers} peers")
    }

    /// What is not yet as it was asked for.
    pub async fn differences(&self, client: &Client) -> Vec<String> {
        let mut differences = Vec::new();
        compare::<Network>(client, self.networks.iter(), &mut differences).await;
        compare::<Instance>(client, self.instances.keys(), &mut differences).await;
        compare::<Peer>(client, self.peers.keys(), &mut differences).await;
        differences
    }

    async fn make(&mut self, client: &Client, chance: &mut Chance, number: usize, most_instances: usize) {
        let networks: Vec<&String> = self.networks.iter().collect();
        let network = chance.one_of(&networks).map(|name| (*name).clone());
        match (chance.below(4), network) {
            (1 | 2, Some(network)) if self.instances.len() < most_instances => {
                let name = format!("instance-{number}");
                let spec = json!({ "network": network, "image": "tiny" });
                create::<Instance>(client, &name, spec).await;
                self.instances.insert(name, network);
            }
            (3, Some(network)) => {
                let mut wanted = vec![network];
                let more = self.networks.iter().find(|name| !wanted.contains(name)).filter(|_| chance.below(2) == 0);
                wanted.extend(more.cloned());
                let name = format!("peer-{number}");
                let key: Vec<u8> = std::iter::repeat_with(|| chance.bits().to_le_bytes()).take(4).flatten().collect();
                let spec = json!({ "public_key": data_encoding::BASE64.encode(&key), "networks": wanted });
                create::<Peer>(client, &name, spec).await;
                self.peers.insert(name, wanted);
            }
            _ => {
                let name = format!("network-{number}");
                create::<Network>(client, &name, json!({})).await;
                self.networks.insert(name);
            }
        }
    }

    async fn drop_one(&mut self, client: &Client, chance: &mut Chance) {
        let used: BTreeSet<&String> = self.instances.values().chain(self.peers.values().flatten()).collect();
        let unused: Vec<String> = self.networks.iter().filter(|name| !used.contains(name)).cloned().collect();
        let instances: Vec<String> = self.instances.keys().cloned().collect();
        let peers: Vec<String> = self.peers.keys().cloned().collect();
        match chance.below(5) {
            0 => {
                let Some(name) = chance.one_of(&unused) else { return };
                delete::<Network>(client, name).await;
                self.networks.remove(name);
            }
            1 | 2 => {
                let Some(name) = chance.one_of(&peers) else { return };
                delete::<Peer>(client, name).await;
                self.peers.remove(name);
            }
            _ => {
                let Some(name) = chance.one_of(&instances) else { return };
                delete::<Instance>(client, name).await;
                self.instances.remove(name);
            }
        }
    }
}

fn named<K: Kind>(name: &str) -> Reference<K::Id> {
    Reference::Name(name.parse().unwrap())
}

async fn create<K: Kind>(client: &Client, name: &str, spec: Value) {
    let body: K::Create = serde_json::from_value(json!({ "name": name, "spec": spec })).unwrap();
    until(&format!("{name} is asked for"), async || match client.create::<K>(&body).await {
        Ok(_) => Some(()),
        // An earlier try whose answer was lost: the name is used once.
        Err(ClientError::Problem(problem)) if problem.status == 409 => {
            client.get::<K>(&named::<K>(name)).await.ok().map(drop)
        }
        Err(ClientError::Problem(problem)) if problem.status < 500 && problem.status != 429 => {
            panic!("{name}: {problem}")
        }
        Err(_) => None,
    })
    .await;
}

async fn delete<K: Kind>(client: &Client, name: &str) {
    until(&format!("{name} is given up"), async || match client.delete::<K>(&named::<K>(name)).await {
        Ok(_) => Some(()),
        Err(ClientError::Problem(problem)) if problem.status == 404 => Some(()),
        // What refers to it is going, or it is going itself.
        Err(ClientError::Problem(problem)) if problem.status == 409 => None,
        Err(ClientError::Problem(problem)) if problem.status < 500 && problem.status != 429 => {
            panic!("{name}: {problem}")
        }
        Err(_) => None,
    })
    .await;
}

async fn until(what: &str, mut ask: impl AsyncFnMut() -> Option<()>) {
    let deadline = Instant::now() + REQUEST;
    while !matches!(timeout(TRY, ask()).await, Ok(Some(()))) {
        assert!(Instant::now() < deadline, "{} s passed before {what}", REQUEST.as_secs());
        sleep(AGAIN).await;
    }
}

async fn compare<K: Kind + Described>(
    client: &Client,
    wanted: impl Iterator<Item = &String>,
    differences: &mut Vec<String>,
) {
    let found = match client.list::<K>().await {
        Ok(found) => found,
        Err(error) => return differences.push(format!("{}: {error}", K::PATH)),
    };
    let mut wanted: BTreeSet<&str> = wanted.map(String::as_str).collect();
    for resource in &found {
        let (name, state, said) = resource.described();
        match (wanted.remove(name), state) {
            (true, State::Ready) => {}
            (true, state) => differences.push(format!("{name} is {}: {said}", state.as_str())),
            (false, state) => differences.push(format!("{name} is there ({}) and should not: {said}", state.as_str())),
        }
    }
    differences.extend(wanted.iter().map(|name| format!("{name} is not there")));
}

/// Name, state, and what else a person would want to know.
trait Described {
    fn described(&self) -> (&str, State, String);
}

macro_rules! described {
    ($($kind:ident)*) => {$(
        impl Described for $kind {
            fn described(&self) -> (&str, State, String) {
                (self.name.as_str(), self.state, serde_json::to_string(&self.conditions).unwrap())
            }
        }
    )*};
}

described! { Network Instance Peer Image }
