//! Commands that clients run through `file exec`. They inherit the namespaces of the thread that runs them.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::files::{Root, SIZE_LIMIT};
use crate::json::Json;
use crate::namespace;
use crate::question::ExecQuestion;
use crate::status::{Answer, Status};

/// Where names are looked up, and the only variable that a command gets.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a command may run.
const LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether a command that closed its output has ended.
const POLL: Duration = Duration::from_millis(5);

/// Runs a command and waits for its end.
pub fn run(root: &Root, question: &ExecQuestion) -> Answer {
    let (_, place) = admit(root, question)?;
    finish(&place, question)
}

/// Runs a command that sees the router's `/tmp`, and waits for its end. This thread, which must have entered the
/// router's namespace, is of no use for anything else afterwards.
pub fn run_inside(root: &Root, question: &ExecQuestion) -> Answer {
    let (path, _) = admit(root, question)?;
    namespace::see_tmp(&root.tmp).map_err(|error| {
        tracing::warn!(%error, "cannot give a command mounts of its own");
        Status::Unknown
    })?;
    finish(Path::new(&path), question)
}

/// The path of the program as the router knows it and as the machine does, if it may be run.
fn admit(root: &Root, question: &ExecQuestion) -> Result<(String, PathBuf), Status> {
    let (path, place) = find(root, &question.command).ok_or(Status::NotFound)?;
    if !question.allowed(&path) {
        return Err(Status::PermissionDenied);
    }
    let metadata = place.metadata().map_err(|error| Status::of_io(&error))?;
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(Status::PermissionDenied);
    }
    Ok((path, place))
}

fn finish(program: &Path, question: &ExecQuestion) -> Answer {
    let child = Command::new(program)
        .args(&question.params)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| Status::of_io(&error))?;
    let deadline = Instant::now() + LIMIT;
    let outputs = [("stdout", child.stdout.take().map(collect)), ("stderr", child.stderr.take().map(collect))];
    let mut members = Vec::new();
    for (name, output) in outputs {
        let Some(output) = output else { continue };
        let Ok(bytes) = output.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            return Err(stop(&mut child));
        };
        if !bytes.is_empty() {
            members.push((name.to_owned(), Json::from(String::from_utf8_lossy(&bytes).into_owned())));
        }
    }
    loop {
        match child.try_wait() {
            // A signal is told as rpcd tells it: as code 0.
            Ok(Some(status)) => {
                members.insert(0, ("code".to_owned(), Json::Int(status.code().unwrap_or(0).into())));
                return Ok(Some(members));
            }
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
            Ok(None) => return Err(stop(&mut child)),
            Err(error) => return Err(Status::of_io(&error)),
        }
    }
}

/// The path of a command as the router knows it, and where that lies: a file, looked up by name if it is no path.
fn find(root: &Root, command: &str) -> Option<(String, PathBuf)> {
    let paths: Vec<String> = match command.contains('/') {
        true => vec![command.to_owned()],
        false => PATH.split(':').map(|folder| format!("{folder}/{command}")).collect(),
    };
    paths.into_iter().map(|path| (path.clone(), root.place(&path))).find(|(_, place)| place.is_file())
}

/// Reads an output to its end on a thread of its own; what is past the limit is thrown away.
fn collect(mut output: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // An output that breaks off is as good as one that ends.
        let _ = output.by_ref().take(SIZE_LIMIT).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut output, &mut std::io::sink());
        // Nobody may be waiting any more.
        let _ = sender.send(bytes);
    });
    receiver
}

fn stop(child: &mut std::process::Child) -> Status {
    // It may have ended by itself by now.
    let _ = child.kill();
    let _ = child.wait();
    Status::Timeout
}
