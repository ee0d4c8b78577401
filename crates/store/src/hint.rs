//! Hints between the cores of one database, carried by PostgreSQL's NOTIFY. Some may get lost, and none is needed.

use sqlx::postgres::PgListener;

use crate::pool::Pool;
use crate::{Result, Store};

/// The channel of all cores.
const CHANNEL: &str = "rhyzome";

/// Hears what cores tell each other, oneself included.
pub struct Hearing(PgListener);

impl Hearing {
    /// The next hint; after an interruption those that were told meanwhile are lost.
    pub async fn next(&mut self) -> Result<String> {
        Ok(self.0.recv().await?.payload().to_owned())
    }
}

impl Store {
    /// Begins to hear other cores; nothing where there can be none.
    pub async fn hear(&self) -> Result<Option<Hearing>> {
        let Pool::Postgres(pool) = &self.pool else { return Ok(None) };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Hearing(listener)))
    }

    /// Tells every core something, in less than 8000 bytes.
    pub async fn tell(&self, hint: &str) -> Result<()> {
        let Pool::Postgres(pool) = &self.pool else { return Ok(()) };
        sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(hint).execute(pool).await?;
        Ok(())
    }
}
