//! The sections of a fleet that are about configuration, with who signed them.

use crate::SectionPath;
use crate::authority::{Authority, State};
use crate::change::{Change, Content};
use crate::document::DocumentError;
use crate::layer::{Execute, Origin, Placed};

/// The sections of a fleet that are about configuration.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Those that can be read.
    pub sections: Vec<Placed>,
    /// Those that cannot, with the reason.
    pub unreadable: Vec<DocumentError>,
}

impl Configuration {
    /// Reads sections whose changes have been checked: each its path, its change and its content.
    #[must_use]
    pub fn of<'a>(
        authority: &Authority,
        sections: impl IntoIterator<Item = (&'a SectionPath, &'a Change, &'a Content)>,
    ) -> Self {
        let mut configuration = Self::default();
        for (path, change, content) in sections {
            let origin = Origin { section: path.clone(), signer: signer(authority.state(), change) };
            let execute = if change.execute { Execute::Signed } else { Execute::NotSigned };
            match Placed::read(origin, &content.bytes.0, execute) {
                Ok(placed) => configuration.sections.extend(placed),
                Err(error) => configuration.unreadable.push(error),
            }
        }
        configuration
    }
}

/// Who signed a change: a user by name, a device by name, and failing both the key.
fn signer(state: &State, change: &Change) -> String {
    if let Some(user) = state.user_of(&change.author) {
        return user.to_string();
    }
    let device = state.device_of(&change.author);
    let named = device.and_then(|device| state.members().find(|(id, _)| *id == device));
    named.map_or_else(|| format!("key {}", change.author), |(_, device)| format!("device {}", device.name))
}
