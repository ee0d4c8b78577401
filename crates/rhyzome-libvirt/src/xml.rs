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
                control if control.is_control() => out.write_str("\u{fffd}")?,
                plain => write!(out, "{plain}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_stays_where_it_was_put() {
        let hostile = "\"/><disk file='/etc/shadow'/>&\u{0}";
        let written = Element::new("a").attribute("b", hostile).child(Element::new("c").text(hostile)).to_string();
        let escaped = "&quot;/&gt;&lt;disk file=&apos;/etc/shadow&apos;/&gt;&amp;\u{fffd}";
        assert_eq!(written, format!("<a b=\"{escaped}\">\n  <c>{escaped}</c>\n</a>\n"));
    }
}
