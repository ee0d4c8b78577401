//! How a section is written: untouched, line by line once it is edited, or in canonical form.

use crate::print;
use crate::scan::{Keyword, Scanner};
use crate::{OptionName, Value};

/// The text of a section, header and options.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// Printed from the options, as libuci would.
    Canonical,
    /// As it was read.
    Raw(String),
    /// As it was read, but for the edited lines.
    Lines(Lines),
}

/// The statements of a section and what stands between them.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    /// Comments behind the last statement.
    trailing: String,
}

#[derive(Clone, Debug)]
struct Line {
    /// Empty lines and comments before it.
    lead: String,
    /// The statement with indentation, comment and newline.
    text: String,
    /// The comment in `text`, with its `#`.
    comment: Option<String>,
    binds: Binding,
}

#[derive(Clone, Debug)]
enum Binding {
    Nothing,
    Header,
    Option { name: String, item: String, is_list: bool },
}

impl Layout {
    /// Rewrites the lines of the option `old` as `new`, or removes them. Items of a list which stay keep their lines.
    pub(crate) fn replace(&mut self, old: &OptionName, new: Option<(&OptionName, &Value)>) {
        if let Some(lines) = self.open() {
            lines.replace(old, new);
        }
    }

    pub(crate) fn replace_header(&mut self, header: String) {
        let Some(lines) = self.open() else { return };
        if let Some(line) = lines.lines.iter_mut().find(|line| matches!(line.binds, Binding::Header)) {
            line.rewrite(header);
        }
    }

    fn open(&mut self) -> Option<&mut Lines> {
        if let Self::Raw(text) = self {
            *self = Lines::read(text).map_or(Self::Canonical, Self::Lines);
        }
        match self {
            Self::Lines(lines) => Some(lines),
            Self::Canonical | Self::Raw(_) => None,
        }
    }
}

impl Lines {
    pub(crate) fn print(&self, out: &mut String) {
        for line in &self.lines {
            out.push_str(&line.lead);
            out.push_str(&line.text);
        }
        out.push_str(&self.trailing);
    }

    /// Takes apart what was parsed before; nothing comes of text that was not.
    fn read(text: &str) -> Option<Self> {
        let mut scanner = Scanner::new(text);
        let mut lines = Vec::new();
        let mut end = 0;
        while let Some(statement) = scanner.statement().ok()? {
            let binds = match statement.keyword {
                Keyword::Package => Binding::Nothing,
                Keyword::Config => Binding::Header,
                Keyword::Option | Keyword::List => Binding::Option {
                    name: statement.first.text.into_owned(),
                    item: statement.second.text.into_owned(),
                    is_list: statement.keyword == Keyword::List,
                },
            };
            lines.push(Line {
                lead: text[end..statement.span.start].to_owned(),
                text: text[statement.span.clone()].to_owned(),
                comment: statement.comment.map(str::to_owned),
                binds,
            });
            end = statement.span.end;
        }
        if let Some(line) = lines.last_mut().filter(|line| !line.text.ends_with('\n')) {
            line.text.push('\n');
        }
        Some(Self { lines, trailing: text[end..].to_owned() })
    }

    fn replace(&mut self, old: &OptionName, new: Option<(&OptionName, &Value)>) {
        let kept = self.kept(old, new);
        let mut fresh = new.map(|(name, value)| Line::canonical(name, value)).unwrap_or_default();
        let bound = self.lines.iter().filter(|line| line.binds_to(old)).count();
        let written = fresh.len();
        let mut fresh = fresh.drain(..).skip(kept.front).take(written - kept.front - kept.back);
        let mut lines = Vec::with_capacity(self.lines.len() + written);
        let mut ordinal = 0;
        let mut orphaned = String::new();
        for mut line in self.lines.drain(..) {
            line.lead.insert_str(0, &std::mem::take(&mut orphaned));
            if !line.binds_to(old) {
                lines.push(line);
                continue;
            }
            let is_kept = ordinal < kept.front || ordinal >= bound - kept.back;
            if ordinal == bound - kept.back {
                lines.extend(fresh.by_ref());
            }
            ordinal += 1;
            if is_kept {
                lines.push(line);
            } else if let Some(successor) = fresh.next() {
                lines.push(line.replaced_by(successor));
            } else if line.lead.contains('#') {
                orphaned = line.lead;
            }
            if ordinal == bound {
                lines.extend(fresh.by_ref());
            }
        }
        lines.extend(fresh);
        self.lines = lines;
        self.trailing.insert_str(0, &orphaned);
    }

    /// How many lines of a list stay as they are, at its front and at its back.
    fn kept(&self, old: &OptionName, new: Option<(&OptionName, &Value)>) -> Kept {
        let Some((name, Value::List(items))) = new else {
            return Kept::default();
        };
        let mut written = Vec::new();
        for line in self.lines.iter().filter(|line| line.binds_to(old)) {
            match &line.binds {
                Binding::Option { item, is_list: true, .. } => written.push(item),
                _ => return Kept::default(),
            }
        }
        if name != old {
            return Kept::default();
        }
        let front = written.iter().zip(items).take_while(|(a, b)| **a == *b).count();
        let back =
            written[front..].iter().rev().zip(items[front..].iter().rev()).take_while(|(a, b)| **a == *b).count();
        Kept { front, back }
    }
}

#[derive(Default)]
struct Kept {
    front: usize,
    back: usize,
}

impl Line {
    fn canonical(name: &OptionName, value: &Value) -> Vec<Self> {
        let keyword = print::keyword(value);
        let line = |item: &String| {
            let mut text = String::new();
            print::line(&mut text, keyword, name, item);
            text.push('\n');
            let is_list = matches!(value, Value::List(_));
            let binds = Binding::Option { name: name.to_string(), item: item.clone(), is_list };
            Self { lead: String::new(), text, comment: None, binds }
        };
        value.items().iter().map(line).collect()
    }

    fn binds_to(&self, option: &OptionName) -> bool {
        matches!(&self.binds, Binding::Option { name, .. } if name == option.as_str())
    }

    /// Puts another line in the place of this one, between the comments that stood before and behind it.
    fn replaced_by(mut self, successor: Self) -> Self {
        let mut text = successor.text;
        text.truncate(text.trim_end_matches('\n').len());
        self.binds = successor.binds;
        self.rewrite(text);
        self
    }

    fn rewrite(&mut self, mut text: String) {
        if let Some(comment) = &self.comment {
            text.push(' ');
            text.push_str(comment);
        }
        text.push('\n');
        self.text = text;
    }
}
