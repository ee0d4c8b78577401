//! The help that the table of commands gives.

use std::fmt::Write;

use super::table::COMMON;
use super::{Command, Count};

/// What the program is, and its commands.
pub(super) fn overview(commands: &[Command]) -> String {
    format!(
        "dusk: every OpenWrt device managed from one place\n\ndusk <command> [options] [arguments]\ndusk --version\n\n{}",
        list(commands, "")
    )
}

/// The commands that begin with these words.
pub(super) fn below(commands: &[Command], words: &str) -> String {
    match words {
        "" => overview(commands),
        _ => list(commands, words),
    }
}

/// A command, its arguments and its options.
pub(super) fn of(command: &Command) -> String {
    let mut out = format!("dusk {} [options]", command.words);
    for argument in command.arguments {
        let _ = match argument.count {
            Count::One => write!(out, " <{}>", argument.name),
            Count::Optional => write!(out, " [{}]", argument.name),
            Count::Many => write!(out, " <{}>...", argument.name),
            Count::Any => write!(out, " [{}]...", argument.name),
        };
    }
    let _ = write!(out, "\n\n{}\n", command.summary);
    let arguments = command.arguments.iter().map(|argument| (format!("<{}>", argument.name), argument.help));
    section(&mut out, "Arguments", arguments.collect());
    let flags = command.flags.iter().chain(COMMON).map(|flag| {
        let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
        let value = flag.value.map_or(String::new(), |value| format!(" {value}"));
        (format!("{short}--{}{value}", flag.long), flag.help)
    });
    section(&mut out, "Options", flags.collect());
    out
}

fn list(commands: &[Command], words: &str) -> String {
    let mut out = String::new();
    let shown = commands.iter().filter(|command| {
        words.is_empty()
            || command.words.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    section(&mut out, "Commands", shown.map(|command| (command.words.to_owned(), command.summary)).collect());
    out
}

fn section(out: &mut String, title: &str, lines: Vec<(String, &str)>) {
    if lines.is_empty() {
        return;
    }
    let width = lines.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let _ = writeln!(out, "\n{title}:");
    for (left, right) in lines {
        let _ = writeln!(out, "  {left:width$}  {right}");
    }
}
