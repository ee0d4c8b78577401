//! The socket that commands on this machine talk to a running node through: `control.sock` beside its files, for its owner
//! alone. A line of JSON asks, a line of JSON answers; then it is over.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::port::Waker;

/// The longest question: a record with its content, in hex.
const LONGEST_QUESTION: u64 = 2 << 20;
/// The longest answer.
pub const LONGEST_ANSWER: u64 = 64 << 20;
/// So many commands are answered at the same time.
const COMMANDS: usize = 16;
/// The loop answers sooner, with what it waits for.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a command asks.
pub struct Question {
    /// The question: an object, whose member `ask` names it.
    pub ask: Value,
    answer: SyncSender<Value>,
}

impl Question {
    /// What is asked.
    pub fn name(&self) -> &str {
        self.ask.get("ask").and_then(Value::as_str).unwrap_or_default()
    }

    /// Answers.
    pub fn answer(self, answer: anyhow::Result<Value>) {
        let answer = answer.unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        // A command that was ended does not wait.
        let _ = self.answer.try_send(answer);
    }
}

/// The node's end.
pub struct Control {
    questions: Receiver<Question>,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Where the socket of the node lies whose files are in a directory.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

impl Control {
    /// Listens. Whoever calls holds the node's files, so that a socket that lies there is one of a node that is gone.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(dir: &Path, waker: Waker) -> io::Result<Self> {
        let path = path(dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The directory is for its owner alone, so that nobody is faster than the next line.
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let (asking, questions) = mpsc::channel();
        thread::Builder::new().name("control".to_owned()).spawn(move || listen(&listener, &asking, &waker))?;
        Ok(Self { questions, path })
    }

    /// What was asked.
    pub fn questions(&self) -> Vec<Question> {
        self.questions.try_iter().collect()
    }
}

fn listen(listener: &UnixListener, asking: &Sender<Question>, waker: &Waker) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.load(Ordering::SeqCst) >= COMMANDS {
            continue;
        }
        open.fetch_add(1, Ordering::SeqCst);
        let (asking, waker, done) = (asking.clone(), waker.clone(), Arc::clone(&open));
        let attend = move || {
            // Whoever goes away hears nothing.
            let _ = attend(&stream, &asking, &waker);
            done.fetch_sub(1, Ordering::SeqCst);
        };
        if thread::Builder::new().name("command".to_owned()).spawn(attend).is_err() {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn attend(stream: &UnixStream, asking: &Sender<Question>, waker: &Waker) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_QUESTION)).read_line(&mut line)?;
    let told = match serde_json::from_str(&line) {
        Ok(ask) => {
            let (answer, answered) = mpsc::sync_channel(1);
            let is_asked = asking.send(Question { ask, answer }).is_ok();
            waker.wake();
            let told = is_asked.then(|| answered.recv_timeout(PATIENCE).ok()).flatten();
            told.unwrap_or_else(|| json!({"error": "the node does not answer"}))
        }
        Err(error) => json!({"error": format!("the question is no line of JSON: {error}")}),
    };
    let mut out = stream;
    out.write_all(format!("{told}\n").as_bytes())
}

/// Asks the node that runs on the files of a directory.
///
/// # Errors
/// When there is none, or it answers with an error.
pub fn ask(dir: &Path, question: &Value) -> anyhow::Result<Value> {
    let path = path(dir);
    let stream = UnixStream::connect(&path).with_context(|| format!("no node answers at {}", path.display()))?;
    stream.set_read_timeout(Some(PATIENCE + Duration::from_secs(10)))?;
    (&stream).write_all(format!("{question}\n").as_bytes()).context("the node does not listen")?;
    let mut line = String::new();
    BufReader::new((&stream).take(LONGEST_ANSWER)).read_line(&mut line).context("the node does not answer")?;
    let answer: Value = serde_json::from_str(&line).context("the node was ended before it answered")?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => bail!("{error}"),
        None => Ok(answer),
    }
}
