//! The keys of a device's groups, by which it reads what is sealed to them.

use std::collections::BTreeMap;

use crate::authority::State;
use crate::change::Content;
use crate::seal::{GroupKey, GroupSecret, Secret};
use crate::sealed::Opener;
use crate::{FleetId, GroupName, NodeSecret, SectionPath, cbor};

/// The longest form of a wrapped key.
const LONGEST: usize = 1024;

/// The keys that somebody has.
pub struct Keyring {
    fleet: FleetId,
    keys: BTreeMap<GroupName, (u32, GroupSecret)>,
}

impl Keyring {
    /// Takes the keys out of the sections under `prefix` (`devices/<id>/`), as far as they are the groups' keys of today.
    pub fn of<'a>(
        state: &State,
        prefix: &str,
        secret: &NodeSecret,
        sections: impl IntoIterator<Item = (&'a SectionPath, &'a Content)>,
    ) -> Self {
        let mut keys = BTreeMap::new();
        for (path, content) in sections {
            let group = path.as_str().strip_prefix(prefix).and_then(|rest| rest.strip_prefix("key/"));
            let Some(group) = group.and_then(|group| group.parse::<GroupName>().ok()) else { continue };
            let Some(seal) = state.seals.get(&group) else { continue };
            let Ok(key) = cbor::from_bytes::<GroupKey>(&content.bytes.0, LONGEST) else { continue };
            if let (true, Ok(own)) =
                (key.generation == seal.generation, key.unwrap(state.fleet, &group, &seal.key, secret))
            {
                keys.insert(group, (seal.generation, own));
            }
        }
        Self { fleet: state.fleet, keys }
    }
}

impl Opener for Keyring {
    fn open(&self, text: &str) -> Result<String, String> {
        let secret: Secret = text.parse().map_err(|error: crate::ParseError| error.to_string())?;
        let Secret { group, generation, .. } = &secret;
        let Some((own, key)) = self.keys.get(group) else {
            return Err(format!(
                "this device does not have the key of group {group}: expected it to be approved with its secrets"
            ));
        };
        if own != generation {
            return Err(format!("it is sealed to key {generation} of group {group}, whose key is {own}: seal it anew"));
        }
        let opened = key.open(self.fleet, &secret).map_err(|error| error.to_string())?;
        String::from_utf8(opened.to_vec()).map_err(|_| "what was sealed is no text".to_owned())
    }
}
