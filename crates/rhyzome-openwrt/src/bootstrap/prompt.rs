//! Questions to the person at the terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write, stdin};

use anyhow::{Context, ensure};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use types::SecretText;

/// Asks for yes or no; anything but a yes is a no.
pub fn agrees(question: &str) -> anyhow::Result<bool> {
    ensure!(stdin().is_terminal(), "nobody is here to compare the fingerprint: say it with --fingerprint");
    eprint!("{question}");
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Asks for something that is not shown while it is typed.
pub fn secret(question: &str) -> anyhow::Result<SecretText> {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    let mut terminal = terminal.context("nobody is here to ask for the password: name a file with --password-file")?;
    terminal.write_all(question.as_bytes())?;
    let _quiet = Quiet::begin(&terminal)?;
    let mut line = String::new();
    BufReader::new(&terminal).read_line(&mut line)?;
    writeln!(&terminal)?;
    Ok(SecretText::new(line.trim_end_matches('\n').to_owned()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn begin(terminal: &'a File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // There is nothing else to be done about it.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
