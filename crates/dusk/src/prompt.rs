//! What people are asked: on the terminal, or from standard input where there is none. Passwords are not shown, and never
//! stand in arguments.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Passwords shorter than this are refused.
const SHORTEST_PASSWORD: usize = 8;

/// Asks for a line.
///
/// # Errors
/// When there is none.
pub fn line(question: &str) -> anyhow::Result<Zeroizing<String>> {
    eprint!("{question}: ");
    io::stderr().flush()?;
    let mut line = Zeroizing::new(String::new());
    if io::stdin().lock().read_line(&mut line).context("cannot read an answer")? == 0 {
        bail!("there is no answer to \"{question}\"");
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// Asks for a password, without showing it.
///
/// # Errors
/// When there is none.
pub fn password(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(question);
    }
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden)?;
    let answer = line(question);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &shown)?;
    eprintln!();
    answer
}

/// Asks for a password that is to be, twice.
///
/// # Errors
/// When they differ or are too short.
pub fn chosen_password(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let first = password(question)?;
    if first.chars().count() < SHORTEST_PASSWORD {
        bail!("a password of {SHORTEST_PASSWORD} characters at least is needed");
    }
    let second = password("The same again")?;
    if *first != *second {
        bail!("the passwords differ");
    }
    Ok(first)
}

/// Asks whether to go on; `--yes` has answered already.
///
/// # Errors
/// When the answer is not yes.
pub fn consent(question: &str, is_given: bool) -> anyhow::Result<()> {
    if is_given {
        return Ok(());
    }
    match line(&format!("{question} [y/N]"))?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was changed"),
    }
}
