//! The router: requests go through the state machine, its questions to the machine beneath, and time passes for both.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::fault::Fault;
use crate::json::{Json, Members};
use crate::local_socket::Called;
use crate::question::Question;
use crate::rpc::{self, Body, Request, Wish};
use crate::rpcd::{Outcome, Refusal, Rpcd};
use crate::session::Moment;
use crate::status::{self, Answer};

/// How long uhttpd waits for the answer to a call.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// How long procd takes to have the web server follow its config; whoever changed it gets his answer before.
const RELOAD: Duration = Duration::from_secs(1);

/// How often ended sessions are cleared away when nothing happens.
const SWEEP: Duration = Duration::from_secs(30);

/// What lies beneath: interfaces, leases, files and commands.
pub trait Machine: Send + Sync + 'static {
    /// Answers a question.
    fn ask(&self, question: Question) -> impl Future<Output = Answer> + Send;

    /// Starts to bring about what these configs say; does not wait for it.
    fn follow(&self, changed: BTreeSet<String>);

    /// The names of the interfaces that there are.
    fn interfaces(&self) -> Vec<String>;
}

/// A router.
pub struct Router<M> {
    rpcd: Mutex<Rpcd>,
    machine: M,
    started: Instant,
    /// Told when a deadline may have come nearer.
    rescheduled: Notify,
    /// Told when the web server has to follow its config.
    web: watch::Sender<()>,
}

impl<M: Machine> Router<M> {
    /// A router of these two halves.
    pub fn new(rpcd: Rpcd, machine: M) -> Self {
        Router {
            rpcd: Mutex::new(rpcd),
            machine,
            started: Instant::now(),
            rescheduled: Notify::new(),
            web: watch::Sender::new(()),
        }
    }

    /// The machine beneath.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Answers a request body of `/ubus`.
    pub async fn answer(self: &Arc<Self>, body: &[u8]) -> Json {
        match rpc::parse(body) {
            Body::One(request) => self.reply(request).await,
            Body::Batch(requests) => {
                let mut replies = Vec::with_capacity(requests.len());
                for request in requests {
                    replies.push(self.reply(request).await);
                }
                Json::Array(replies)
            }
        }
    }

    /// Answers a request body of `/ubus/call/OBJECT`.
    pub async fn answer_bare(self: &Arc<Self>, body: &[u8], object: &str, sid: &str) -> Json {
        let Request { id, wish } = rpc::parse_bare(body, object, sid);
        match wish {
            Ok(Wish::Call { sid, object, method, args }) => match self.call(sid, object, method, args).await {
                Ok(answer) => rpc::reply_bare(id, answer),
                Err(fault) => rpc::error(id, fault),
            },
            Ok(Wish::Names | Wish::List(_)) => rpc::error(id, rpc::Fault::Parse),
            Err(fault) => rpc::error(id, fault),
        }
    }

    async fn reply(self: &Arc<Self>, Request { id, wish }: Request) -> Json {
        let result = match wish {
            Ok(Wish::Names) => Ok(self.lock().object_names().into()),
            Ok(Wish::List(patterns)) => {
                let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
                Ok(self.lock().list(&patterns))
            }
            Ok(Wish::Call { sid, object, method, args }) => self.call(sid, object, method, args).await.map(rpc::result),
            Err(fault) => Err(fault),
        };
        match result {
            Ok(result) => rpc::reply(id, result),
            Err(fault) => rpc::error(id, fault),
        }
    }

    async fn call(
        self: &Arc<Self>,
        sid: String,
        object: String,
        method: String,
        args: Members,
    ) -> Result<Answer, rpc::Fault> {
        self.step(move |rpcd, now| rpcd.call(&sid, &object, &method, &args, now)).await
    }

    /// Makes a call that comes over the local socket.
    pub(crate) async fn call_local(self: &Arc<Self>, object: String, method: String, args: Members) -> Called {
        self.step(move |rpcd, now| rpcd.call_local(&object, &method, args, now)).await
    }

    /// The names of all objects.
    pub(crate) fn object_names(&self) -> Vec<String> {
        self.lock().object_names()
    }

    async fn step<F>(self: &Arc<Self>, call: F) -> Called
    where
        F: FnOnce(&mut Rpcd, Moment) -> Result<Outcome, Refusal> + Send + 'static,
    {
        let router = Arc::clone(self);
        // The state machine writes files, and waits until they are on disk.
        let step = tokio::task::spawn_blocking(move || {
            let now = router.now();
            let mut rpcd = router.lock();
            let outcome = call(&mut rpcd, now);
            (outcome, rpcd.take_changed())
        });
        let (outcome, changed) = step.await.expect("invariant: the state machine does not panic");
        self.follow(changed);
        self.rescheduled.notify_one();
        match outcome? {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Ask(question) => self.ask(question).await,
            Outcome::Run(question) => {
                let code = if self.ask(question).await?.is_ok() { 0 } else { 1 };
                Ok(status::data("code", Json::Int(code)))
            }
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, rpc::Fault> {
        tokio::time::timeout(CALL_LIMIT, self.machine.ask(question)).await.map_err(|_| rpc::Fault::Timeout)
    }

    /// Lets time pass, for ever: applies that nobody confirms are rolled back when that is due.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let deadline = self.lock().next_deadline();
            let pause = deadline.map_or(SWEEP, |deadline| deadline.saturating_sub(self.now()).min(SWEEP));
            // Whichever comes first: both lead to another look.
            let _ = tokio::time::timeout(pause, self.rescheduled.notified()).await;
            let router = Arc::clone(&self);
            let tick = tokio::task::spawn_blocking(move || {
                let now = router.now();
                let mut rpcd = router.lock();
                rpcd.tick(now);
                rpcd.take_changed()
            });
            let changed = tick.await.expect("invariant: the state machine does not panic");
            self.follow(changed);
        }
    }

    /// Has a fault that lies with rpcd happen before the next call.
    pub(crate) fn suffer(&self, fault: Option<Fault>) {
        let mut rpcd = self.lock();
        rpcd.is_full = fault == Some(Fault::Full);
        if fault == Some(Fault::RestartRpcd) {
            rpcd.restart();
        }
    }

    /// Told when the web server has to follow its config.
    pub fn web(&self) -> watch::Receiver<()> {
        self.web.subscribe()
    }

    fn follow(&self, changed: BTreeSet<String>) {
        if changed.contains("uhttpd") {
            let web = self.web.clone();
            tokio::spawn(async move {
                tokio::time::sleep(RELOAD).await;
                web.send_replace(());
            });
        }
        if !changed.is_empty() {
            self.machine.follow(changed);
        }
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Rpcd> {
        let mut rpcd = self.rpcd.lock().unwrap_or_else(PoisonError::into_inner);
        rpcd.set_interfaces(self.machine.interfaces());
        rpcd
    }
}
