//! `rhyzome admin token`: who may call the API.

use std::path::PathBuf;

use clap::Subcommand;
use store::{Caller, TokenRow};
use types::{Scope, Scopes, SecretText, TenantName, TokenId};

use super::{hand_over, random_text};
use crate::http::{TOKEN_PREFIX, digest};
use crate::serve::{open_store, read_config};

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once and kept as a digest alone.
    Create {
        /// The core's configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Whose token it is.
        #[arg(long)]
        tenant: TenantName,
        /// What to call it.
        #[arg(long)]
        name: String,
        /// What it allows, as in network:read or *:*; may be given more than once.
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
        /// Where the token goes (mode 0600) instead of to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Does it.
pub async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { config, tenant, name, scopes, output } => {
            let store = open_store(&read_config(config.as_deref())?).await?;
            let token = SecretText::new(format!("{TOKEN_PREFIX}{}", random_text()?.reveal()));
            let scopes = Scopes(scopes.into_iter().collect());
            store::transact!(store, async |session| -> anyhow::Result<()> {
                let id = TokenId::make(session.now_unsigned())?;
                let row = TokenRow { id, tenant: tenant.clone(), name: name.clone(), scopes: scopes.clone() };
                Ok(session.add_token(&Caller::core(), &row, digest(token.reveal())).await?)
            })
            .await?;
            store.close().await;
            hand_over(&token, output)
        }
    }
}
