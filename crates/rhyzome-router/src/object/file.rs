//! The object `file` (rpcd's file.c): what may be done is decided here, by the path alone; it is done beneath.

use data_encoding::BASE64;

use super::shell;
use crate::json::{Json, member};
use crate::question::{Encoding, ExecQuestion, FileAction, FileQuestion, Question};
use crate::rpcd::{Call, Outcome, Rpcd};
use crate::status::Status;

pub(crate) fn call(rpcd: &mut Rpcd, method: &str, call: &Call<'_>) -> Outcome {
    let outcome = if method == "exec" {
        exec(rpcd, call)
    } else {
        ask(rpcd, method, call).map(|question| Outcome::Ask(Question::File(question)))
    };
    outcome.unwrap_or_else(|status| Outcome::Answer(Err(status)))
}

fn ask(rpcd: &Rpcd, method: &str, call: &Call<'_>) -> Result<FileQuestion, Status> {
    let path = call.text("path").ok_or(Status::InvalidArgument)?;
    let base64 = call.flag("base64").unwrap_or(false);
    let (right, action) = match method {
        "read" => ("read", FileAction::Read(if base64 { Encoding::Base64 } else { Encoding::Plain })),
        "write" => ("write", write(call, base64)?),
        "list" => ("list", FileAction::List),
        "stat" => ("list", FileAction::Stat),
        "md5" => ("read", FileAction::Md5),
        "remove" => ("write", FileAction::Remove),
        _ => return Err(Status::MethodNotFound),
    };
    if rpcd.is_full && method == "write" {
        return Err(Status::Unknown);
    }
    let path = normalised(path).ok_or(Status::PermissionDenied)?;
    if !rpcd.allows(call.sid, "file", &path, right) {
        return Err(Status::PermissionDenied);
    }
    Ok(FileQuestion { path, action })
}

fn write(call: &Call<'_>, base64: bool) -> Result<FileAction, Status> {
    let text = call.text("data").ok_or(Status::InvalidArgument)?;
    let data = match base64 {
        true => BASE64.decode(text.as_bytes()).map_err(|_| Status::Unknown)?,
        false => text.as_bytes().to_vec(),
    };
    let mode = call.number("mode").map(|mode| mode.cast_unsigned() & 0o7777);
    Ok(FileAction::Write { data, append: call.flag("append").unwrap_or(false), mode })
}

/// An absolute path without `.`, `..` and doubled slashes; none for a relative one.
fn normalised(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

fn exec(rpcd: &mut Rpcd, call: &Call<'_>) -> Result<Outcome, Status> {
    let command = call.text("command").ok_or(Status::InvalidArgument)?;
    if member(call.args, "env").is_some() {
        return Err(Status::PermissionDenied);
    }
    let params = call.array("params").into_iter().flatten().filter_map(Json::as_text).map(str::to_owned).collect();
    let grants = rpcd.sessions.get(call.sid).map(|session| session.grants.clone()).unwrap_or_default();
    let question = ExecQuestion { command: command.to_owned(), params, grants };
    match shell::find(command) {
        Some(program) if !question.allowed(program) => Err(Status::PermissionDenied),
        Some(program) => Ok(shell::run(rpcd, program, &question.params)),
        None => Ok(Outcome::Ask(Question::Exec(question))),
    }
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn dots_do_not_lead_out() {
        for (path, expected) in [
            ("/tmp/operator/../../etc/config/toys", Some("/etc/config/toys")),
            ("/../../..", Some("/")),
            ("//a/./b//", Some("/a/b")),
            ("tmp/t1", None),
            ("", None),
        ] {
            assert_eq!(normalised(path).as_deref(), expected, "{path}");
        }
    }
}
