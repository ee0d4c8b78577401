//! The machine beneath the router: one thread inside the namespace that brings about what the configs say and runs
//! what must run there, and the questions that need no namespace.

pub mod name_server;
pub mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::configs::Configs;
use crate::dnsmasq;
use crate::files::Root;
use crate::json::Json;
use crate::lease;
use crate::namespace::{Namespace, NamespaceError};
use crate::network::status::Status as Interfaces;
use crate::question::{FileQuestion, Question};
use crate::router::Machine;
use crate::status::{Answer, Status};
use crate::system;
use crate::wireguard;
use worker::{Message, Worker};

/// What the machine needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The namespace that it lives in.
    pub namespace: Namespace,
    /// The router's own folders.
    pub root: Root,
    /// The folder for the files of its programs.
    pub run: PathBuf,
    /// The version of OpenWrt that it says it is.
    pub release: String,
}

/// The machine, with its thread.
pub struct NamespaceMachine {
    root: Root,
    configs: Configs,
    started: Instant,
    interfaces: Arc<Mutex<Interfaces>>,
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
    release: String,
}

impl NamespaceMachine {
    /// Enters the namespace and brings about what the configs say, before it returns. The receiver is told when the
    /// thread ends, which it does not do by itself.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn start(surroundings: Surroundings) -> Result<(Self, oneshot::Receiver<()>), NamespaceError> {
        let started = Instant::now();
        let interfaces = Arc::new(Mutex::new(Interfaces::default()));
        let (messages, received) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        // Nothing is sent: it is dropped with the thread, also by a panic.
        let (alive, ended) = oneshot::channel();
        let release = surroundings.release.clone();
        let (root, shared, sender) = (surroundings.root.clone(), Arc::clone(&interfaces), messages.clone());
        let thread = std::thread::spawn(move || {
            let _alive = alive;
            let entered = surroundings.namespace.enter();
            if let Err(error) = entered {
                // Whoever waits for this is waiting below.
                let _ = ready.send(Err(error));
                return;
            }
            let mut worker = Worker::new(surroundings, shared, started, sender);
            worker.converge();
            let _ = ready.send(Ok(()));
            worker.serve(&received);
        });
        is_ready.recv().expect("invariant: the thread answers before it ends")?;
        let configs = Configs::new(root.config.clone());
        let machine = NamespaceMachine { root, configs, started, interfaces, messages, thread: Some(thread), release };
        Ok((machine, ended))
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn with_interfaces<T>(&self, look: impl FnOnce(&Interfaces) -> T) -> T {
        look(&self.interfaces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn inside(&self, question: Question) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Ask(question, reply)).map_err(|_| Status::Unknown)?;
        answer.await.map_err(|_| Status::Unknown)?
    }

    fn leases(&self, ipv4: bool, ipv6: bool) -> Answer {
        let mut leases = Vec::new();
        for file in dnsmasq::lease_files(&self.configs.load_or_empty("dhcp")) {
            // A file that is not there yet holds no leases.
            leases.extend(lease::parse(&fs::read_to_string(self.root.place(&file)).unwrap_or_default()));
        }
        Ok(Some(lease::to_members(&leases, system::now(), ipv4, ipv6)))
    }

    async fn file(&self, question: FileQuestion) -> Answer {
        let root = self.root.clone();
        let answer = tokio::task::spawn_blocking(move || root.answer(&question)).await;
        answer.map_err(|_| Status::Unknown)?
    }
}

impl Machine for NamespaceMachine {
    async fn ask(&self, question: Question) -> Answer {
        match question {
            Question::Interfaces => Ok(Some(self.with_interfaces(|all| all.dump(self.now())))),
            Question::Interface(name) => {
                self.with_interfaces(|all| all.show(&name, self.now())).map(Some).ok_or(Status::NotFound)
            }
            Question::Leases { ipv4, ipv6 } => self.leases(ipv4, ipv6),
            Question::Board => Ok(Some(system::board(&self.release))),
            Question::Info => Ok(Some(system::info(&self.root.tmp))),
            Question::KeyPair => wireguard::key_pair().map(Some).map_err(|error| {
                tracing::warn!(%error, "cannot make a key pair");
                Status::Unknown
            }),
            Question::File(question) => self.file(question).await,
            question @ (Question::Switch { .. }
            | Question::Device(_)
            | Question::Services(_)
            | Question::WireGuard
            | Question::Exec(_)) => self.inside(question).await,
        }
    }

    fn follow(&self, changed: BTreeSet<String>) {
        // Nobody listens any more while the router stops.
        let _ = self.messages.send(Message::Follow(changed));
    }

    fn interfaces(&self) -> Vec<String> {
        self.with_interfaces(Interfaces::names)
    }
}

impl Drop for NamespaceMachine {
    /// Ends the thread and with it all programs that it runs.
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread inside the namespace panicked");
        }
    }
}

/// Writes a file, and the folder that it is in, unless it is so already.
fn replace_if_other(path: &Path, text: &str) -> Result<(), config::FileError> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        // If this fails, so does the writing, with a better message.
        let _ = fs::create_dir_all(folder);
    }
    config::file::write_private(path, text.as_bytes())
}

/// The descriptions of WireGuard peers, by public key.
fn peer_descriptions(configs: &Configs) -> BTreeMap<String, String> {
    let network = configs.load_or_empty("network");
    let peers = network.sections().iter().filter(|section| section.kind.starts_with("wireguard_"));
    peers.filter_map(|peer| Some((peer.text("public_key")?.to_owned(), peer.text("description")?.to_owned()))).collect()
}

/// A device as `network.device status` tells it.
fn device_json(link: &crate::network::observed::Link) -> Json {
    let kind = link.kind.as_deref().unwrap_or("Network device");
    let mut members = vec![
        ("type".to_owned(), Json::from(if kind == "bridge" { "bridge" } else { "Network device" })),
        ("present".to_owned(), true.into()),
        ("up".to_owned(), link.is_up.into()),
        ("carrier".to_owned(), link.is_up.into()),
        ("mtu".to_owned(), link.mtu.into()),
    ];
    members.extend(link.mac.as_ref().map(|mac| ("macaddr".to_owned(), Json::from(mac.as_str()))));
    Json::Object(members)
}
