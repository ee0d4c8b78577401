//! A paused installation: it is looked at and not worked, until a person has seen what a restored backup would change.

use crate::statement::sql;
use crate::{Result, Session, Write};

impl<Mode> Session<'_, Mode> {
    /// Why the installation is paused; nothing if it is not.
    pub async fn paused(&mut self) -> Result<Option<String>> {
        self.fetch_optional_scalar(sql("SELECT value FROM installation WHERE name = 'paused'")).await
    }
}

impl Session<'_, Write> {
    /// Lets the installation be worked again.
    pub async fn resume(&mut self) -> Result<()> {
        self.execute(sql("DELETE FROM installation WHERE name = 'paused'")).await?;
        Ok(())
    }
}
