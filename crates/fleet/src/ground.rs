//! What was there before dusk came: what it goes back to when a section of the fleet goes away.

use std::collections::BTreeMap;

use uci::{OptionName, Package, PackageName, SectionName, SectionType, Value};

use crate::effective::Binding;

/// What was there before dusk came, of all that it manages on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// UCI sections.
    pub sections: BTreeMap<(PackageName, SectionName), Before>,
    /// Which sections were found by what is in them.
    pub bindings: BTreeMap<Binding, Vec<SectionName>>,
    /// Files by path; nothing where there was none.
    pub files: BTreeMap<String, Option<FileBefore>>,
}

/// A UCI section before dusk came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its type.
    pub kind: SectionType,
    /// Whether it was there.
    pub was_there: bool,
    /// Whether dusk has taken it away.
    pub is_deleted: bool,
    /// The managed options, and what they held; nothing where they were not there.
    pub options: BTreeMap<OptionName, Option<Value>>,
}

/// A file before dusk came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBefore {
    /// Its owner, by number.
    pub owner: u32,
    /// Its group, by number.
    pub group: u32,
    /// Its permissions.
    pub mode: u32,
    /// Its content.
    pub content: Vec<u8>,
}

/// A text that is no ground.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was there before dusk: {problem}")]
pub struct GroundError {
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl Ground {
    /// The ground as text: UCI, like everything else.
    #[must_use]
    pub fn print(&self) -> String {
        let mut package = Package::new(name());
        for ((of, section), before) in &self.sections {
            let mut options = vec![
                ("package", Value::from(of.as_str())),
                ("section", section.as_str().into()),
                ("kind", before.kind.as_str().into()),
                ("was_there", before.was_there.into()),
                ("deleted", before.is_deleted.into()),
            ];
            let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for (option, value) in &before.options {
                match value {
                    None => lists.entry("absent").or_default().push(option.to_string()),
                    Some(Value::Scalar(text)) => lists.entry("text").or_default().push(format!("{option}={text}")),
                    Some(Value::List(items)) => {
                        let items = items.iter().map(|item| format!("{option}={item}"));
                        lists.entry("item").or_default().extend(items);
                    }
                }
            }
            options.extend(lists.into_iter().map(|(option, items)| (option, Value::List(items))));
            add(&mut package, "section", options);
        }
        for ((of, kind, selector), names) in &self.bindings {
            let options = vec![
                ("package", Value::from(of.as_str())),
                ("kind", kind.as_str().into()),
                ("selector", selector.as_str().into()),
                ("section", names.iter().map(SectionName::as_str).collect()),
            ];
            add(&mut package, "binding", options);
        }
        for (path, before) in &self.files {
            let mut options = vec![("path", Value::from(path.as_str()))];
            if let Some(before) = before {
                options.extend([
                    ("owner", Value::from(before.owner)),
                    ("group", before.group.into()),
                    ("mode", before.mode.into()),
                    ("content", Value::from(format!("={}", data_encoding::BASE64.encode(&before.content)))),
                ]);
            }
            add(&mut package, "file", options);
        }
        package.canonical()
    }

    /// Reads what [`Ground::print`] wrote.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, GroundError> {
        let wrong = |problem: String| GroundError { problem };
        let package = Package::parse(name(), text).map_err(|error| wrong(error.to_string()))?;
        let mut ground = Self::default();
        for section in package.sections() {
            let needed = |option: &str| {
                let text = section.text(option).map(plain);
                text.ok_or_else(|| wrong(format!("section {} has no {option}", section.kind())))
            };
            let bad = |error: uci::NameError| wrong(error.to_string());
            let items = |option: &str| -> Vec<String> {
                section.get(option).map_or(&[][..], Value::items).iter().map(|item| plain(item)).collect()
            };
            match section.kind().as_str() {
                "section" => {
                    let mut options: BTreeMap<OptionName, Option<Value>> = BTreeMap::new();
                    for option in items("absent") {
                        options.insert(OptionName::new(option).map_err(bad)?, None);
                    }
                    for (list, is_list) in [("text", false), ("item", true)] {
                        for item in items(list) {
                            let (option, text) =
                                item.split_once('=').ok_or_else(|| wrong(format!("{item:?} is no option=value")))?;
                            let value = options.entry(OptionName::new(option).map_err(bad)?).or_default();
                            match value {
                                Some(Value::List(items)) => items.push(text.to_owned()),
                                _ if is_list => *value = Some(Value::from([text])),
                                _ => *value = Some(Value::from(text)),
                            }
                        }
                    }
                    let key = (
                        PackageName::new(needed("package")?).map_err(bad)?,
                        SectionName::new(needed("section")?).map_err(bad)?,
                    );
                    let kind = SectionType::as_read(needed("kind")?).map_err(bad)?;
                    let (was_there, is_deleted) = (needed("was_there")? == "1", needed("deleted")? == "1");
                    ground.sections.insert(key, Before { kind, was_there, is_deleted, options });
                }
                "binding" => {
                    let key = (
                        PackageName::new(needed("package")?).map_err(bad)?,
                        SectionType::as_read(needed("kind")?).map_err(bad)?,
                        needed("selector")?,
                    );
                    let names = items("section").iter().map(SectionName::new).collect::<Result<_, _>>().map_err(bad)?;
                    ground.bindings.insert(key, names);
                }
                "file" => {
                    let before = match section.text("content") {
                        None => None,
                        Some(content) => {
                            let number = |option| -> Result<u32, GroundError> {
                                needed(option)?.parse().map_err(|_| wrong(format!("{option} is no number")))
                            };
                            let content = content.strip_prefix('=').unwrap_or(content);
                            let content = data_encoding::BASE64.decode(content.as_bytes());
                            let content = content.map_err(|error| wrong(error.to_string()))?;
                            let (owner, group, mode) = (number("owner")?, number("group")?, number("mode")?);
                            Some(FileBefore { owner, group, mode, content })
                        }
                    };
                    ground.files.insert(needed("path")?, before);
                }
                other => return Err(wrong(format!("{other:?} is not known"))),
            }
        }
        Ok(ground)
    }
}

fn name() -> PackageName {
    PackageName::new("ground").expect("invariant: a name")
}

fn add(package: &mut Package, kind: &str, options: Vec<(&str, Value)>) {
    let section = package.add_anonymous(kind).expect("invariant: a type");
    for (option, value) in options {
        let value = match value {
            Value::Scalar(text) => Value::Scalar(writable(&text)),
            Value::List(items) => items.iter().map(|item| writable(item)).collect(),
        };
        section.set(option, value).expect("invariant: options are words, and no list is empty");
    }
}

/// A text without control characters: files on a device hold some that cannot be set, and nothing that was there is lost.
fn writable(text: &str) -> String {
    let write = |c: char| match c {
        '%' | '\0'..='\x1f' | '\x7f' => format!("%{:02x}", u32::from(c)),
        other => other.to_string(),
    };
    text.chars().map(write).collect()
}

/// The text that [`writable`] wrote.
fn plain(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[2..]);
            }
            None => plain.extend(["%", part]),
        }
    }
    plain
}
