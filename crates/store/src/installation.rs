//! Which installation a database belongs to.

use types::{ClusterId, Epoch};

use crate::column::parse;
use crate::statement::sql;
use crate::transaction::Transaction;
use crate::{Result, SecretKey, StoreError};

/// The identity of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The installation's id; agents refuse others.
    pub cluster: ClusterId,
    /// How often the database was restored; agents refuse earlier ones.
    pub epoch: Epoch,
}

/// What is sealed under the installation's key, so that a wrong key is noticed at start.
const KEY_CHECK: &str = "rhyzome";

impl Installation {
    /// Reads the identity, or makes one in an empty database. A key that does not open this database's secrets is refused.
    pub(crate) async fn load_or_make(mut transaction: Transaction, key: &SecretKey) -> Result<Self> {
        let rows: Vec<(String, String)> = transaction.fetch_all(sql("SELECT name, value FROM installation")).await?;
        let value = |wanted: &str| rows.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        if let (Some(cluster), Some(epoch), Some(check)) = (value("cluster"), value("epoch"), value("key_check")) {
            key.open_text(check, KEY_CHECK).map_err(|_| {
                StoreError::Unusable(
                    "the key file does not belong to this database: give the one it was made with".to_owned(),
                )
            })?;
            return Ok(Self {
                cluster: parse("installation.cluster", cluster)?,
                epoch: Epoch(parse("installation.epoch", epoch)?),
            });
        }
        let now = transaction.now().await?;
        let cluster = ClusterId::make(u64::try_from(now).unwrap_or(0))
            .map_err(|error| StoreError::Unusable(error.to_string()))?;
        let made = Self { cluster, epoch: Epoch(1) };
        let check = key.seal_text(KEY_CHECK, KEY_CHECK)?;
        for (name, value) in
            [("cluster", made.cluster.to_string()), ("epoch", made.epoch.to_string()), ("key_check", check)]
        {
            let insert = sql("INSERT INTO installation (name, value) VALUES ($1, $2)");
            transaction.execute(insert.bind(name).bind(value)).await?;
        }
        transaction.commit().await?;
        Ok(made)
    }
}
