//! Actions: what a device does once for each change that asks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use fleet::document::{Action, Deed};
use fleet::{ChangeId, SectionPath};
use serde_json::json;
use ubus::Client;

use crate::flash::{Flash, Ownership, own_group, own_user};
use crate::shell;

/// Where it is written down what was done.
pub const DONE: &str = "/etc/dusk/actions";

/// The actions of a device.
#[derive(Clone, Debug)]
pub struct Actions {
    flash: Flash,
}

impl Actions {
    /// Those of the device whose files these are.
    #[must_use]
    pub fn new(flash: Flash) -> Self {
        Self { flash }
    }

    /// Does what a change asks for, unless that was begun before: an action that ends with the device, like a boot, must
    /// not begin again. Gives what was printed, or why it failed; nothing where it was begun before.
    ///
    /// # Errors
    /// When it cannot be written down that it begins. It does not begin then.
    pub async fn run_once(
        &self,
        section: &SectionPath,
        change: &ChangeId,
        action: &Action,
        client: &Client,
    ) -> anyhow::Result<Option<Result<String, String>>> {
        let mut done = self.done()?;
        if done.get(section.as_str()) == Some(&change.to_string()) {
            return Ok(None);
        }
        done.insert(section.to_string(), change.to_string());
        self.write(&done)?;
        Ok(Some(perform(action, client).await))
    }

    /// Forgets actions whose sections are no more.
    ///
    /// # Errors
    /// Names the file.
    pub fn forget_others(&self, sections: &[SectionPath]) -> anyhow::Result<()> {
        let mut done = self.done()?;
        let count = done.len();
        done.retain(|section, _| sections.iter().any(|other| other.as_str() == section));
        if done.len() == count { Ok(()) } else { self.write(&done) }
    }

    /// The change that was begun last, by section.
    fn done(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let bytes = self.flash.read(DONE)?.unwrap_or_default();
        let text = String::from_utf8(bytes).with_context(|| format!("{DONE} is no text"))?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(section, change)| (section.to_owned(), change.to_owned())).collect())
    }

    fn write(&self, done: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let text: String = done.iter().map(|(section, change)| format!("{section} {change}\n")).collect();
        let ownership = Ownership { owner: own_user(), group: own_group(), mode: 0o600 };
        self.flash.write(DONE, text.as_bytes(), ownership)
    }
}

async fn perform(action: &Action, client: &Client) -> Result<String, String> {
    let deadline = Duration::from_secs(action.seconds.into());
    match &action.deed {
        Deed::Reboot => {
            let asked = client.call("system", "reboot", json!({})).await;
            asked.map(|_| "boots anew".to_owned()).map_err(|error| error.to_string())
        }
        Deed::Log { message } => shell::run("logger", &["-t", "dusk", "--", message], deadline).await,
        Deed::Command { command } => shell::line(command, deadline).await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ubus::Local;

    use super::*;

    #[tokio::test]
    async fn an_action_is_begun_once_for_each_change() {
        let root = tempfile::tempdir().unwrap();
        let actions = Actions::new(Flash::new(root.path()));
        let client = Client::of_root(Arc::new(Local::new(&root.path().join("ubus.sock"))));
        let section: SectionPath = "groups/ap/actions/count".parse().unwrap();
        let count = root.path().join("count");
        let command = format!("echo x >>{}; echo counted", count.display());
        let action = Action { deed: Deed::Command { command }, seconds: 20 };
        let (first, second) = (ChangeId::of([1; 32]), ChangeId::of([2; 32]));
        for change in [first, first, second, second] {
            let done = actions.run_once(&section, &change, &action, &client).await.unwrap();
            assert!(done.is_none_or(|done| done == Ok("counted\n".to_owned())));
        }
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\n");
        let failing = Action { deed: Deed::Command { command: "echo why >&2; exit 4".to_owned() }, seconds: 20 };
        let third = ChangeId::of([3; 32]);
        let done = actions.run_once(&section, &third, &failing, &client).await.unwrap();
        assert_eq!(done, Some(Err("exit status: 4: why".to_owned())));
        // Nobody answers on this ubus.
        let reboot = Action { deed: Deed::Reboot, seconds: 20 };
        let done = actions.run_once(&section, &first, &reboot, &client).await.unwrap();
        assert!(done.unwrap().is_err());
        actions.forget_others(&[]).unwrap();
        assert!(actions.done().unwrap().is_empty());
    }
}
