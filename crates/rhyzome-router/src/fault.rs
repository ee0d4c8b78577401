//! Faults on demand, so that clients can be tried against a router that misbehaves.
//!
//! A fault is written `WHEN=WHAT`. WHEN is a call as in `uci.apply` or `*`, and after a `#` the number of the call that
//! it happens to, from 1, among those that fit; without a number it happens to all. Several are separated by commas.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the call is carried out.
    Drop,
    /// The call is carried out and the connection ends before the answer.
    Lose,
    /// There is never an answer, and the call is not carried out.
    Hang,
    /// A page of HTML comes instead of an answer.
    Html,
    /// Half of an answer comes; the call is not carried out.
    Half,
    /// The web server says 500.
    Status500,
    /// An answer of 100 MB comes.
    Huge,
    /// The answer is JSON of other types than it should be.
    Types,
    /// rpcd starts anew before the call: sessions and what is staged are lost.
    RestartRpcd,
    /// The file system is full: rpcd can write nothing.
    Full,
    /// The router is switched off; it comes back when it is started again.
    PowerOff,
}

const NAMES: [(&str, Fault); 11] = [
    ("drop", Fault::Drop),
    ("lose", Fault::Lose),
    ("hang", Fault::Hang),
    ("html", Fault::Html),
    ("half", Fault::Half),
    ("500", Fault::Status500),
    ("huge", Fault::Huge),
    ("types", Fault::Types),
    ("restart-rpcd", Fault::RestartRpcd),
    ("full", Fault::Full),
    ("power-off", Fault::PowerOff),
];

/// A fault and the calls that it happens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    call: String,
    number: Option<u64>,
    fault: Fault,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        let wrong = || format!("{text:?} is no fault; expected CALL[#NUMBER]=FAULT with one of {}", names.join(", "));
        let (when, what) = text.trim().split_once('=').ok_or_else(wrong)?;
        let fault = NAMES.iter().find(|(name, _)| *name == what).map(|(_, fault)| *fault).ok_or_else(wrong)?;
        let (call, number) = match when.split_once('#') {
            Some((call, number)) => (call, Some(number.parse().map_err(|_| wrong())?)),
            None => (when, None),
        };
        match call == "*" || call.contains('.') {
            true => Ok(Self { call: call.to_owned(), number, fault }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number.map(|number| format!("#{number}")).unwrap_or_default();
        let name = NAMES.iter().find(|(_, fault)| *fault == self.fault).map_or("", |(name, _)| name);
        write!(out, "{}{number}={name}", self.call)
    }
}

/// The faults of a router: those it was started with, and those in a file that may change while it runs.
#[derive(Default)]
pub struct Faults {
    fixed: Vec<Rule>,
    file: Option<PathBuf>,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    text: String,
    rules: Vec<(Rule, u64)>,
}

impl Faults {
    /// These, and those in `file`, where that is there.
    #[must_use]
    pub fn new(fixed: Vec<Rule>, file: &Path) -> Self {
        Self { fixed, file: Some(file.to_owned()), counted: Mutex::default() }
    }

    /// What happens to this call.
    pub fn strike(&self, object: &str, method: &str) -> Option<Fault> {
        let text = self.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fixed.is_empty() && text.is_empty() {
            *counted = Counted::default();
            return None;
        }
        if counted.rules.is_empty() || counted.text != text {
            let written = text.split([',', '\n']).filter(|rule| !rule.trim().is_empty());
            let written = written.filter_map(|rule| {
                rule.parse::<Rule>().inspect_err(|error| tracing::warn!("in the file of faults: {error}")).ok()
            });
            counted.rules = self.fixed.iter().cloned().chain(written).map(|rule| (rule, 0)).collect();
            counted.text = text;
        }
        let call = format!("{object}.{method}");
        let mut struck = None;
        for (rule, count) in &mut counted.rules {
            if rule.call != "*" && rule.call != call {
                continue;
            }
            *count += 1;
            if rule.number.is_none_or(|number| number == *count) && struck.is_none() {
                tracing::warn!(call, fault = %rule, "a fault that was asked for");
                struck = Some(rule.fault);
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_strike_the_calls_they_name() {
        let rules: Vec<Rule> = "uci.apply#2=hang,*#3=drop".split(',').map(|rule| rule.parse().unwrap()).collect();
        assert_eq!(rules[0].to_string(), "uci.apply#2=hang");
        let faults = Faults { fixed: rules, ..Faults::default() };
        assert_eq!(faults.strike("uci", "apply"), None);
        assert_eq!(faults.strike("uci", "apply"), Some(Fault::Hang));
        assert_eq!(faults.strike("uci", "get"), Some(Fault::Drop));
        assert_eq!(faults.strike("uci", "apply"), None);
        for wrong in ["hang", "uci=hang", "uci.apply#x=hang", "uci.apply=explode"] {
            assert!(wrong.parse::<Rule>().unwrap_err().contains("restart-rpcd"), "{wrong}");
        }
    }
}
