//! Writes XML: elements, attributes and text, escaped.

use std::fmt::{self, Display};

/// An element with its attributes and either text or children.
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// An empty element.
    pub fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), text: String::new(), children: Vec::new() }
    }

    /// The element with an attribute more.
    pub fn attribute(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// The element with that text in it.
    pub fn text(mut self, text: impl Display) -> Self {
        self.text = text.to_string();
        self
    }

    /// The element with a child more.
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    fn write(&self, out: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = depth * 2;
        write!(out, "{:indent$}<{}", "", self.name)?;
        for (name, value) in &self.attributes {
            write!(out, " {name}=\"{}\"", Escaped(value))?;
        }
        if self.children.is_empty() && self.text.is_empty() {
            return writeln!(out, "/>");
        }
        write!(out, ">{}", Escaped(&self.text))?;
        if !self.children.is_empty() {
            writeln!(out)?;
            for child in &self.children {
                child.write(out, depth + 1)?;
            }
            write!(out, "{:indent$}", "")?;
        }
        writeln!(out, "</{}>", self.name)
    }
}

impl Display for Element {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(out, 0)
    }
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&apos;")?,
                // XML 1.0 has no way to write these.
                unwritable if unwritable.is_control() || matches!(unwritable, '\u{fffe}' | '\u{ffff}') => {
                    out.write_str("\u{fffd}")?;
                }
                plain => write!(out, "{plain}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader of XML makes of what stands in an attribute or between tags.
    fn read(written: &str) -> String {
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
        entities.iter().fold(written.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
    }

    fn hostile() -> impl Strategy<Value = String> {
        const PARTS: &[&str] = &[
            "]]>",
            "<![CDATA[",
            "<!--",
            "-->",
            "&",
            "&amp;",
            "&#0;",
            "<",
            ">",
            "\"",
            "'",
            "/>",
            "<?xml",
            "\u{0}",
            "\u{7}",
            "\n",
            "\u{85}",
            "\u{fffe}",
            "\u{ffff}",
            "<disk>",
            "ä",
        ];
        let part =
            prop_oneof![proptest::sample::select(PARTS).prop_map(str::to_owned), any::<char>().prop_map(String::from)];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_text_writes_markup(attribute in hostile(), text in hostile()) {
            let element = Element::new("a").attribute("b", &attribute).attribute("c", "d").text(&text);
            let written = element.to_string();
            let (head, rest) = written.split_once("\" c=\"d\"").unwrap();
            let body = rest.strip_prefix('>').map_or("", |rest| rest.strip_suffix("</a>\n").unwrap());
            let held = head.strip_prefix("<a b=\"").unwrap();
            for part in [held, body] {
                prop_assert!(!part.contains(['<', '>', '"', '\'']), "{written}");
                let is_legal = |letter: char| !letter.is_control() && letter != '\u{fffe}' && letter != '\u{ffff}';
                prop_assert!(part.chars().all(is_legal), "{written:?}");
                for entity in part.split('&').skip(1) {
                    let known = ["amp;", "lt;", "gt;", "quot;", "apos;"].iter().any(|name| entity.starts_with(name));
                    prop_assert!(known, "{written}");
                }
            }
            let legal = |text: &str| -> String {
                let replaced = |letter: char| match letter {
                    '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
                    control if control.is_control() => '\u{fffd}',
                    plain => plain,
                };
                text.chars().map(replaced).collect()
            };
            prop_assert_eq!((read(held), read(body)), (legal(&attribute), legal(&text)));
        }
    }

    #[test]
    fn whatever_is_written_stays_where_it_was_put() {
        let hostile = "\"/><disk file='/etc/shadow'/>&\u{0}";
        let written = Element::new("a").attribute("b", hostile).child(Element::new("c").text(hostile)).to_string();
        let escaped = "&quot;/&gt;&lt;disk file=&apos;/etc/shadow&apos;/&gt;&amp;\u{fffd}";
        assert_eq!(written, format!("<a b=\"{escaped}\">\n  <c>{escaped}</c>\n</a>\n"));
    }
}
