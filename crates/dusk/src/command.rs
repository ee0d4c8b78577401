//! The command line. One table, [`table::COMMANDS`], gives the parser and the help.

mod action;
mod adopt;
mod content;
mod device;
mod explain;
mod given;
mod graph;
mod group;
mod help;
mod history;
mod init;
mod join;
#[cfg(feature = "lab")]
mod lab;
mod master;
mod recover;
mod role;
pub mod rollout;
mod rows;
mod rpcd;
mod run;
mod section;
mod show;
mod status;
pub mod table;
mod undo;
mod user;

use std::ffi::OsString;
use std::process::ExitCode;

pub use given::Given;

/// A command: the words that name it, and what it takes.
#[derive(Debug)]
pub struct Command {
    /// The words, noun before verb: `device list`.
    pub words: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What stands behind the words, in order.
    pub arguments: &'static [Argument],
    /// Its options, beside [`table::COMMON`].
    pub flags: &'static [Flag],
    /// Does it.
    pub run: fn(&Given) -> anyhow::Result<ExitCode>,
}

/// What stands behind a command's words.
#[derive(Debug)]
pub struct Argument {
    /// What it is called: `device`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// How many there are of it.
    pub count: Count,
}

/// How often an argument is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Once.
    One,
    /// Once or not at all.
    Optional,
    /// Once or more often; the last of a command only.
    Many,
    /// As often as one likes, or not at all; the last of a command only.
    Any,
}

/// An option.
#[derive(Debug)]
pub struct Flag {
    /// `group` is written `--group`.
    pub long: &'static str,
    /// `o` is written `-o`.
    pub short: Option<char>,
    /// What its value is called, if it has one.
    pub value: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No command has these words.
    #[error("there is no command \"{words}\": expected one of those that `dusk --help` lists")]
    NoCommand {
        /// What was given.
        words: String,
    },
    /// No option of this command.
    #[error("dusk {words} has no option {flag}: `dusk {words} --help` lists those it has")]
    NoFlag {
        /// The command.
        words: &'static str,
        /// What was given.
        flag: String,
    },
    /// Something is missing.
    #[error("dusk {words} needs <{argument}>: {help}")]
    Missing {
        /// The command.
        words: &'static str,
        /// What is missing.
        argument: &'static str,
        /// What it is.
        help: &'static str,
    },
    /// There is too much.
    #[error("dusk {words} does not know what to do with {extra:?}")]
    Extra {
        /// The command.
        words: &'static str,
        /// What is too much.
        extra: String,
    },
    /// An option's value is missing, or one is given to an option without.
    #[error("{problem}")]
    Value {
        /// What is wrong.
        problem: String,
    },
    /// Bytes that are no text.
    #[error("{text:?} is no text: expected UTF-8")]
    NoText {
        /// What could be read of it.
        text: String,
    },
}

/// What a command line asks for.
enum Asked {
    Version,
    Help(String),
    Run(&'static Command, Given),
}

/// Does what the command line says. The code is 0 for done, 1 for failed, 2 for a command line that nothing can be done
/// with.
pub fn execute(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = match given::parse(arguments) {
        Ok(Asked::Version) => print(concat!("dusk ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::Help(text)) => print(&text),
        Ok(Asked::Run(command, given)) => (command.run)(&given),
        Err(error) => {
            eprintln!("dusk: {error}");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("dusk: {error:#}");
        ExitCode::FAILURE
    })
}

/// Writes to standard output; a reader that has gone away is no fault.
///
/// # Errors
/// As the output says.
pub fn print(text: &str) -> anyhow::Result<ExitCode> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
