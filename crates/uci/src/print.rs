//! The canonical form: what libuci's `uci_export` writes.

use crate::{OptionName, SectionName, SectionType, Value};

/// Appends `config TYPE` or `config TYPE 'NAME'`, without the end of the line.
pub(crate) fn header(out: &mut String, kind: &SectionType, name: Option<&SectionName>) {
    out.push_str("config ");
    // libuci never quotes a type; one that needs it would not read back.
    if kind.as_str().contains(['\'', '"', '#', ';', '\\']) {
        quoted(out, kind.as_str());
    } else {
        out.push_str(kind.as_str());
    }
    if let Some(name) = name {
        out.push_str(" '");
        out.push_str(name.as_str());
        out.push('\'');
    }
}

/// Appends the lines of an option: one, or one for each item of a list.
pub(crate) fn option(out: &mut String, name: &OptionName, value: &Value) {
    for item in value.items() {
        line(out, keyword(value), name, item);
        out.push('\n');
    }
}

/// Appends one `option` or `list` line, without its end.
pub(crate) fn line(out: &mut String, keyword: &str, name: &OptionName, item: &str) {
    out.push('\t');
    out.push_str(keyword);
    out.push(' ');
    out.push_str(name.as_str());
    out.push(' ');
    quoted(out, item);
}

/// The word that begins the lines of a value.
pub(crate) fn keyword(value: &Value) -> &'static str {
    match value {
        Value::Scalar(_) => "option",
        Value::List(_) => "list",
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('\'');
    let mut parts = text.split('\'');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str("'\\''");
        out.push_str(part);
    }
    out.push('\'');
}
