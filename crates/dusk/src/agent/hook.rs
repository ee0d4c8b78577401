//! Whom notices are brought to: commands and webhooks of the file `alerts`, one after the other, in a thread of their own.
//!
//! Nothing waits for them: what comes while too many wait is told on standard error alone, like everything.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use fleet::alert::{Condition, Notice};
use serde_json::json;
use uci::{Package, PackageName, Section};

use crate::shell;

/// The file, in UCI's syntax.
pub const FILE: &str = "alerts";
/// Notices that wait.
const WAITING: usize = 64;
/// How long one hook may take that does not say, and how long any may, in seconds.
const SECONDS: u64 = 20;
const MOST_SECONDS: u64 = 300;

/// The thread.
pub struct Hooks {
    notices: SyncSender<Notice>,
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hook {
    /// What of; everything where nothing is named.
    on: Vec<Condition>,
    way: Way,
    deadline: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Command(String),
    /// Host with port, and path.
    Webhook(String, String),
}

impl Hooks {
    /// Starts it for the file of a directory, which is read for every notice.
    ///
    /// # Errors
    /// When the file is no good, or there is no thread to be had.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join(FILE);
        read(&file)?;
        let (notices, incoming) = mpsc::sync_channel(WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("alerts".to_owned()).spawn(move || work(&file, &incoming, &runtime))?;
        Ok(Self { notices })
    }

    /// Tells everybody.
    pub fn tell(&self, notice: Notice) {
        eprintln!("{notice}");
        if self.notices.try_send(notice).is_err() {
            eprintln!("too many alerts wait for their commands: this one is told here alone");
        }
    }
}

fn work(file: &Path, incoming: &Receiver<Notice>, runtime: &tokio::runtime::Runtime) {
    while let Ok(notice) = incoming.recv() {
        let hooks = read(file).unwrap_or_else(|error| {
            eprintln!("{error:#}");
            Vec::new()
        });
        for hook in hooks.iter().filter(|hook| hook.on.is_empty() || hook.on.contains(&notice.condition)) {
            let done = match &hook.way {
                Way::Command(command) => runtime.block_on(run(command, &notice, hook.deadline)),
                Way::Webhook(host, path) => {
                    post(host, path, &notice, hook.deadline).map_err(|error| format!("{error:#}"))
                }
            };
            if let Err(reason) = done {
                eprintln!("an alert was not delivered: {reason}");
            }
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Hook>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let package = PackageName::new(FILE).ok().map(|name| Package::parse(name, &text));
    let package = package.context("the file alerts has no name")?.with_context(|| file.display().to_string())?;
    package
        .sections()
        .map(|section| hook(section).with_context(|| format!("{}: {}", file.display(), section.name())))
        .collect()
}

fn hook(section: &Section) -> anyhow::Result<Hook> {
    if section.kind().as_str() != "alert" {
        bail!("config {} is not known: expected config alert", section.kind());
    }
    let text = |name: &str| section.get(name).and_then(uci::Value::as_str);
    if let Some((other, _)) =
        section.options().find(|(name, _)| !["on", "command", "webhook", "seconds"].contains(&name.as_str()))
    {
        bail!("option {other} is not known: expected on, command, webhook or seconds");
    }
    let on = section.get("on").map_or(&[] as &[String], |value| value.items());
    let on = on.iter().flat_map(|words| words.split_whitespace()).map(|word| word.parse().context("option on"));
    let way = match (text("command"), text("webhook")) {
        (Some(command), None) => Way::Command(command.to_owned()),
        (None, Some(url)) => {
            let expected = "option webhook: http://HOST[:PORT]/PATH is expected; for https, have a command run curl";
            let rest = url.strip_prefix("http://").context(expected)?;
            let (host, path) =
                rest.split_once('/').map_or((rest, "/".to_owned()), |(host, path)| (host, format!("/{path}")));
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if host.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
                bail!(expected);
            }
            Way::Webhook(if has_port { host.to_owned() } else { format!("{host}:80") }, path)
        }
        _ => bail!("one of option command and option webhook is expected"),
    };
    let seconds =
        text("seconds").map_or(Ok(SECONDS), str::parse).ok().filter(|seconds| (1..=MOST_SECONDS).contains(seconds));
    let seconds = seconds.with_context(|| format!("option seconds: 1 to {MOST_SECONDS} is expected"))?;
    Ok(Hook { on: on.collect::<anyhow::Result<_>>()?, way, deadline: Duration::from_secs(seconds) })
}

fn state(notice: &Notice) -> &'static str {
    if notice.is_over { "over" } else { "begun" }
}

/// Runs a command with condition, `begun` or `over`, device, and the sentence as its arguments.
async fn run(command: &str, notice: &Notice, deadline: Duration) -> Result<(), String> {
    let (condition, name, text) = (notice.condition.to_string(), notice.name.to_string(), notice.to_string());
    shell::run("sh", &["-c", command, "dusk", &condition, state(notice), &name, &text], deadline).await.map(drop)
}

/// Posts a notice as JSON.
fn post(host: &str, path: &str, notice: &Notice, deadline: Duration) -> anyhow::Result<()> {
    let body = json!({
        "device": notice.id.to_string(), "name": notice.name.to_string(), "condition": notice.condition.to_string(),
        "state": state(notice), "reason": notice.reason, "text": notice.to_string(),
    });
    let body = body.to_string();
    let address = host.to_socket_addrs().with_context(|| host.to_owned())?.next();
    let mut stream = TcpStream::connect_timeout(&address.context("the webhook's host has no address")?, deadline)
        .with_context(|| host.to_owned())?;
    stream.set_read_timeout(Some(deadline)).and_then(|()| stream.set_write_timeout(Some(deadline)))?;
    let length = body.len();
    let question = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(question.as_bytes())?;
    let mut answer = [0; 64];
    let mut length = 0;
    while length < "HTTP/1.1 200".len() {
        match stream.read(&mut answer[length..])? {
            0 => break,
            more => length += more,
        }
    }
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    match answer.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(()),
        _ => bail!("{host} answers {:?}", answer.lines().next().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn notice() -> Notice {
        Notice {
            id: "00112233445566778899".parse().unwrap(),
            name: "attic".parse().unwrap(),
            condition: Condition::Offline,
            is_over: false,
            reason: "it's \"gone\"".to_owned(),
        }
    }

    fn config(text: &str) -> anyhow::Result<Vec<Hook>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        read(&dir.path().join(FILE))
    }

    #[test]
    fn a_file_that_is_no_good_says_where_and_what_was_expected() {
        assert!(config("").unwrap().is_empty());
        let hooks =
            config("config alert 'a'\n\tlist on 'offline'\n\tlist on 'fork'\n\toption webhook 'http://h/x'\n").unwrap();
        assert_eq!(hooks[0].on, [Condition::Offline, Condition::Fork]);
        assert_eq!(hooks[0].way, Way::Webhook("h:80".to_owned(), "/x".to_owned()));
        for (text, expected) in [
            ("config alert 'a'\n\toption on 'ofline'\n\toption command 'x'\n", "offline"),
            ("config alert 'a'\n", "option command"),
            ("config alert 'a'\n\toption webhook 'https://h/'\n", "curl"),
            ("config alert 'a'\n\toption comand 'x'\n", "comand"),
            ("config alert 'a'\n\toption command 'x'\n\toption seconds '0'\n", "1 to 300"),
            ("config alarm 'a'\n", "config alert"),
        ] {
            let error = format!("{:#}", config(text).unwrap_err());
            assert!(error.contains(expected) && error.contains("alerts"), "{error}");
        }
    }

    #[test]
    fn a_command_and_a_webhook_are_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let text = format!(
            "config alert 'slow'\n\tlist on 'fork'\n\toption command 'sleep 60'\n\
             config alert 'cmd'\n\toption command 'echo \"$1 $2 $3 $4\" >{}'\n\
             config alert 'web'\n\toption webhook 'http://{}/hook'\n",
            out.display(),
            listener.local_addr().unwrap()
        );
        std::fs::write(dir.path().join(FILE), text).unwrap();
        let hooks = Hooks::start(dir.path()).unwrap();
        hooks.tell(notice());
        // The webhook is the last one: what came before it has been done.
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = String::new();
        while !question.ends_with('}') {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "{question}");
            question.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert!(question.starts_with("POST /hook HTTP/1.1\r\n"), "{question}");
        assert!(question.contains("\"condition\":\"offline\"") && question.contains("it's \\\"gone\\\""), "{question}");
        let told = std::fs::read_to_string(&out).unwrap();
        assert_eq!(told, "offline begun attic attic: offline: it's \"gone\"\n");
    }
}
