//! Images.

use api::{Image, State};
use types::Tags;

use super::{Names, View, known};
use crate::output::Facts;
use crate::value::show_bytes;

impl View for Image {
    const COLUMNS: &'static [&'static str] = &["NAME", "ID", "STATE", "FILE", "DISK", "SHA256", "REASON"];

    fn row(&self, _names: &Names) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.id.to_string(),
            self.state.as_str().to_owned(),
            file(self),
            disk(self),
            self.spec.sha256.to_string().chars().take(12).collect(),
            reason(self),
        ]
    }

    fn particulars(&self, _names: &Names) -> Facts {
        vec![
            ("sha256", self.spec.sha256.to_string()),
            ("url", known(self.spec.url.as_ref())),
            ("file", file(self)),
            ("disk", disk(self)),
        ]
    }

    fn loss(&self) -> String {
        "with its file".to_owned()
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

/// The file's size, or what has arrived of it.
fn file(image: &Image) -> String {
    match image.status.file_size {
        Some(size) => show_bytes(size.get()),
        None if image.status.received > 0 => format!("{} arrived", show_bytes(image.status.received)),
        None => String::new(),
    }
}

/// Why it is not ready, as far as that is known.
fn reason(image: &Image) -> String {
    let told = |name: &str, holds: bool| {
        let condition = image.conditions.iter().find(|condition| condition.name == name && condition.holds == holds);
        condition.and_then(|condition| condition.reason.clone())
    };
    let waits = image.state == State::Creating && image.status.virtual_size.is_none();
    match told("applied", false).or_else(|| told("stuck", true)) {
        Some(reason) => reason,
        None if waits && image.spec.url.is_none() && image.status.received == 0 => "waits for its file".to_owned(),
        None if waits => "is on its way".to_owned(),
        None => String::new(),
    }
}

fn disk(image: &Image) -> String {
    image.status.virtual_size.map(|size| show_bytes(size.get())).unwrap_or_default()
}
