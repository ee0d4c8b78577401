//! What a command line gave to a command.

use std::collections::BTreeMap;
use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::table::{COMMANDS, COMMON};
use super::{Asked, Command, Count, Flag, UsageError, help};

/// Arguments and options by name.
#[derive(Debug, Default)]
pub struct Given {
    arguments: BTreeMap<&'static str, Vec<String>>,
    flags: BTreeMap<&'static str, Vec<String>>,
}

impl Given {
    /// An argument that every command line of the command has.
    ///
    /// # Panics
    /// When the table does not say that it is needed.
    #[must_use]
    pub fn argument(&self, name: &str) -> &str {
        self.optional(name).expect("invariant: the parser refuses a command line without it")
    }

    /// An argument that may be absent.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.many(name).first().map(String::as_str)
    }

    /// An argument that may stand there more than once.
    #[must_use]
    pub fn many(&self, name: &str) -> &[String] {
        self.arguments.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether an option is given.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    /// The value of an option; the last, where it is given more than once.
    #[must_use]
    pub fn value(&self, flag: &str) -> Option<&str> {
        self.values(flag).last().map(String::as_str)
    }

    /// All values of an option.
    #[must_use]
    pub fn values(&self, flag: &str) -> &[String] {
        self.flags.get(flag).map_or(&[], Vec::as_slice)
    }
}

/// Takes a command line apart by the table.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, UsageError> {
    parse_by(COMMANDS, arguments)
}

fn parse_by(commands: &'static [Command], arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut words: Vec<String> = Vec::new();
    let command = loop {
        if let Some(command) = named(commands, &words) {
            break command;
        }
        match parser.next().map_err(value_error)? {
            Some(Arg::Value(word)) => {
                words.push(text(word)?);
                let prefix = words.join(" ");
                let is_begun = |command: &Command| {
                    command.words == prefix
                        || command.words.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with(' '))
                };
                if prefix == "help" {
                    return Ok(Asked::Help(help::overview(commands)));
                }
                if !commands.iter().any(is_begun) {
                    return Err(UsageError::NoCommand { words: prefix });
                }
            }
            Some(Arg::Long("version") | Arg::Short('V')) => return Ok(Asked::Version),
            Some(Arg::Long("help") | Arg::Short('h')) => {
                return Ok(Asked::Help(help::below(commands, &words.join(" "))));
            }
            Some(Arg::Long(flag)) => return Err(UsageError::NoCommand { words: format!("--{flag}") }),
            Some(Arg::Short(flag)) => return Err(UsageError::NoCommand { words: format!("-{flag}") }),
            None if words.is_empty() => return Ok(Asked::Help(help::overview(commands))),
            None => return Err(UsageError::NoCommand { words: words.join(" ") }),
        }
    };
    parse_rest(command, &mut parser)
}

fn parse_rest(command: &'static Command, parser: &mut Parser) -> Result<Asked, UsageError> {
    let mut given = Given::default();
    let mut positional = Vec::new();
    while let Some(argument) = parser.next().map_err(value_error)? {
        let flag = match argument {
            Arg::Value(value) => {
                positional.push(text(value)?);
                continue;
            }
            Arg::Long(long) => flag_of(command, |flag| flag.long == long)
                .ok_or_else(|| UsageError::NoFlag { words: command.words, flag: format!("--{long}") })?,
            Arg::Short(short) => flag_of(command, |flag| flag.short == Some(short))
                .ok_or_else(|| UsageError::NoFlag { words: command.words, flag: format!("-{short}") })?,
        };
        if flag.long == "help" {
            return Ok(Asked::Help(help::of(command)));
        }
        let values = given.flags.entry(flag.long).or_default();
        if flag.value.is_some() {
            values.push(text(parser.value().map_err(value_error)?)?);
        }
    }
    let mut positional = positional.into_iter();
    for argument in command.arguments {
        let values: Vec<_> = match argument.count {
            Count::One | Count::Optional => positional.by_ref().take(1).collect(),
            Count::Many | Count::Any => positional.by_ref().collect(),
        };
        if values.is_empty() && matches!(argument.count, Count::One | Count::Many) {
            let (words, argument, help) = (command.words, argument.name, argument.help);
            return Err(UsageError::Missing { words, argument, help });
        }
        given.arguments.insert(argument.name, values);
    }
    match positional.next() {
        Some(extra) => Err(UsageError::Extra { words: command.words, extra }),
        None => Ok(Asked::Run(command, given)),
    }
}

fn named(commands: &'static [Command], words: &[String]) -> Option<&'static Command> {
    let words = words.join(" ");
    commands.iter().find(|command| command.words == words)
}

fn flag_of(command: &Command, is_it: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
    command.flags.iter().chain(COMMON).find(|flag| is_it(flag))
}

fn text(text: OsString) -> Result<String, UsageError> {
    text.into_string().map_err(|text| UsageError::NoText { text: text.to_string_lossy().into_owned() })
}

fn value_error(error: lexopt::Error) -> UsageError {
    UsageError::Value { problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::*;
    use crate::command::Argument;

    const COMMANDS: &[Command] = &[
        Command {
            words: "device list",
            summary: "List the devices",
            arguments: &[],
            flags: &[Flag { long: "output", short: Some('o'), value: Some("FORM"), help: "table or json" }],
            run: |_| Ok(ExitCode::SUCCESS),
        },
        Command {
            words: "set",
            summary: "Change options",
            arguments: &[
                Argument { name: "target", help: "a group or a device", count: Count::One },
                Argument { name: "change", help: "path=value", count: Count::Many },
            ],
            flags: &[Flag { long: "yes", short: Some('y'), value: None, help: "Do not ask" }],
            run: |_| Ok(ExitCode::SUCCESS),
        },
    ];

    fn ask(line: &str) -> Result<Asked, UsageError> {
        parse_by(COMMANDS, line.split_whitespace().map(OsString::from))
    }

    fn refusal(line: &str) -> String {
        ask(line).err().unwrap().to_string()
    }

    #[test]
    fn a_command_gets_its_arguments_and_options() {
        let Ok(Asked::Run(command, given)) = ask("set -y group/ap a=1 b=2") else { panic!("no command") };
        assert_eq!((command.words, given.argument("target")), ("set", "group/ap"));
        assert_eq!(given.many("change"), ["a=1", "b=2"]);
        assert!(given.has("yes"));
        let Ok(Asked::Run(_, given)) = ask("device list --output=json") else { panic!("no command") };
        assert_eq!(given.value("output"), Some("json"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refusal("frob").contains("no command \"frob\""));
        assert!(refusal("device frob").contains("\"device frob\""));
        assert!(refusal("device").contains("\"device\""));
        assert_eq!(refusal("set group/ap"), "dusk set needs <change>: path=value");
        assert!(refusal("device list x").contains("\"x\""));
        assert!(refusal("set --no").contains("no option --no"));
        assert!(refusal("device list -o").contains("-o"));
    }

    #[test]
    fn help_is_made_of_the_table() {
        let Ok(Asked::Help(text)) = ask("set --help") else { panic!("no help") };
        assert!(text.starts_with("dusk set [options] <target> <change>..."), "{text}");
        let Ok(Asked::Help(text)) = ask("device -h") else { panic!("no help") };
        assert!(text.contains("device list") && !text.contains("set "), "{text}");
    }

    #[test]
    fn the_table_is_in_order() {
        for (at, command) in super::COMMANDS.iter().enumerate() {
            assert!(super::COMMANDS[..at].iter().all(|other| other.words != command.words), "{}", command.words);
            let many = command.arguments.iter().position(|argument| argument.count != Count::One);
            assert!(many.is_none_or(|many| many + 1 == command.arguments.len()), "{}", command.words);
        }
    }
}
