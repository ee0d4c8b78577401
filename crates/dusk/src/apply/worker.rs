//! The thread that applies, beside the loop that talks: a change may take minutes, and answers must come in meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use fleet::apply::Report;
use fleet::configuration::Configuration;
use fleet::layer::Member;
use fleet::sealed::Opener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Applier, Confirm, Wish};

/// How long one question may wait for its answer. The attempt asks again until its deadline.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is to be applied.
pub struct Order {
    /// What the change is called, one word.
    pub change: String,
    /// This device; what its hardware is like is read when it is applied.
    pub member: Member,
    /// The fleet's sections about configuration.
    pub configuration: Configuration,
    /// Opens what is sealed to the device's groups.
    pub opener: Box<dyn Opener + Send + Sync>,
}

/// What the thread has to say.
#[derive(Debug)]
pub enum Word {
    /// Ask master and backup at once: an answer is waited for.
    Ask,
    /// What became of an order.
    Reported(String, Report),
    /// An order could not even be begun, with the reason.
    Failed(String, String),
    /// What an earlier run left unfinished has been ended.
    Recovered(String),
}

/// The thread. Dropped, it ends what it does first.
pub struct Worker {
    orders: Option<Sender<Order>>,
    words: Receiver<Word>,
    answers: watch::Sender<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts it. `wake` is called whenever there is a word to be taken.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(applier: Applier, wake: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let (orders, incoming) = mpsc::channel();
        let (outgoing, words) = mpsc::channel();
        let (answers, heard) = watch::channel(0);
        let desk = Desk { words: outgoing, wake: Arc::new(wake), heard };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(work(&applier, &incoming, &desk));
        let thread = thread::Builder::new().name("apply".to_owned()).spawn(work)?;
        Ok(Self { orders: Some(orders), words, answers, thread: Some(thread) })
    }

    /// Wants this applied. Of orders that wait, the last one counts.
    pub fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends only after this end is gone.
            let _ = orders.send(order);
        }
    }

    /// Master or backup has answered, authenticated.
    pub fn answered(&self) {
        self.answers.send_modify(|count| *count += 1);
    }

    /// What there is to be heard.
    pub fn words(&self) -> impl Iterator<Item = Word> {
        self.words.try_iter()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread speaks and hears through.
struct Desk {
    words: Sender<Word>,
    wake: Arc<dyn Fn() + Send + Sync>,
    heard: watch::Receiver<u64>,
}

impl Desk {
    fn say(&self, word: Word) {
        // Nobody listens any more when the loop has ended.
        let _ = self.words.send(word);
        (self.wake)();
    }
}

#[async_trait]
impl Confirm for Desk {
    /// An answer counts that comes after the question: one before may have come over the configuration that was.
    async fn confirm(&self) -> Result<(), String> {
        let mut heard = self.heard.clone();
        heard.mark_unchanged();
        self.say(Word::Ask);
        match timeout(PATIENCE, heard.changed()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err("neither master nor backup answers over the new configuration".to_owned()),
        }
    }
}

async fn work(applier: &Applier, orders: &Receiver<Order>, desk: &Desk) {
    match applier.recover().await {
        Ok(None) => {}
        Ok(Some(told)) => desk.say(Word::Recovered(told)),
        Err(error) => desk.say(Word::Recovered(format!("{error:#}"))),
    }
    while let Ok(order) = orders.recv() {
        let order = orders.try_iter().last().unwrap_or(order);
        let Order { change, mut member, configuration, opener } = order;
        match crate::device::facts(applier.client(), &applier.places.root).await {
            Ok(facts) => member.facts = facts,
            Err(error) => {
                desk.say(Word::Failed(change, format!("cannot read what the hardware is like: {error}")));
                continue;
            }
        }
        let wish = Wish {
            change: &change,
            member: &member,
            sections: &configuration.sections,
            unreadable: &configuration.unreadable,
            opener: &*opener,
        };
        let word = match applier.apply(wish, desk).await {
            Ok(report) => Word::Reported(change, report),
            Err(error) => Word::Failed(change, format!("{error:#}")),
        };
        desk.say(word);
    }
}

#[cfg(test)]
mod tests {
    use fleet::facts::Facts;
    use fleet::sealed::NoSecrets;
    use ubus::Local;

    use super::*;
    use crate::apply::Places;

    fn desk() -> (Desk, Receiver<Word>, watch::Sender<u64>) {
        let (words, told) = mpsc::channel();
        let (answers, heard) = watch::channel(0);
        (Desk { words, wake: Arc::new(|| {}), heard }, told, answers)
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_after_the_question_counts() {
        let (desk, told, answers) = desk();
        answers.send_modify(|count| *count += 1);
        let refused = desk.confirm().await.unwrap_err();
        assert!(refused.contains("neither master nor backup"), "{refused}");
        assert!(matches!(told.try_recv(), Ok(Word::Ask)));
        let (confirmed, ()) = tokio::join!(desk.confirm(), async { answers.send_modify(|count| *count += 1) });
        assert_eq!(confirmed, Ok(()));
    }

    #[test]
    fn the_last_order_is_told_about_even_where_ubus_is_away() {
        let root = tempfile::tempdir().unwrap();
        let places = Places { root: root.path().into(), lock: root.path().join("lock"), restore: "/nowhere".into() };
        let applier = Applier::new(Arc::new(Local::new(&root.path().join("ubus.sock"))), places);
        let (woken, wakes) = mpsc::channel();
        let worker = Worker::start(applier, move || woken.send(()).unwrap_or_default()).unwrap();
        let member = Member {
            id: "00112233445566778899".parse().unwrap(),
            name: "attic".parse().unwrap(),
            groups: Vec::new(),
            facts: Facts::default(),
        };
        for change in ["1", "2", "3"] {
            let (change, configuration) = (change.to_owned(), Configuration::default());
            worker.order(Order { change, member: member.clone(), configuration, opener: Box::new(NoSecrets) });
        }
        let mut last = String::new();
        while last != "3" {
            wakes.recv_timeout(Duration::from_secs(60)).unwrap();
            for word in worker.words() {
                match word {
                    Word::Failed(change, _) | Word::Reported(change, _) => last = change,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
