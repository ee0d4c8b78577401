//! How far a transfer is: a bar on a terminal, a line for every quarter elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::say;
use crate::value::show_bytes;

/// A number of bytes on their way.
pub struct Transfer {
    what: String,
    length: u64,
    done: AtomicU64,
    bar: Option<ProgressBar>,
}

impl Transfer {
    /// `length` bytes; `what` says what happens to them, as in "sending hello.qcow2".
    pub fn start(what: String, length: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{msg} {bytes}/{total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_message(what.clone())
        });
        if bar.is_none() {
            say(&format!("{what} ({})", show_bytes(length)));
        }
        Self { what, length, done: AtomicU64::new(0), bar }
    }

    /// More bytes have passed.
    pub fn passed(&self, bytes: usize) {
        let before = self.done.fetch_add(bytes as u64, Ordering::Relaxed);
        let after = before + bytes as u64;
        match &self.bar {
            Some(bar) => bar.set_position(after),
            None if self.length > 0 => {
                let quarter = |done: u64| done * 4 / self.length;
                if quarter(after) > quarter(before) {
                    say(&format!("{}: {}%", self.what, after * 100 / self.length));
                }
            }
            None => {}
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
