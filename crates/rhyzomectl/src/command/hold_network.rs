//! `rhyzomectl hold-network`: the holder's process, started by the command itself.

use std::path::PathBuf;

use clap::Args;

use crate::holder::launch::Passage;
use crate::holder::{IDLE, hold};
use crate::key::WireguardKey;
use crate::value::duration;

/// Hold the tunnel into a network.
#[derive(Args, Debug)]
pub struct HoldNetwork {
    /// What it takes to enter the network
    passage: PathBuf,
    /// How long to stay when nobody uses the tunnel
    #[arg(long, value_name = "TIME", value_parser = duration)]
    idle: Option<std::time::Duration>,
}

impl HoldNetwork {
    /// Holds it.
    pub async fn run(self) -> anyhow::Result<()> {
        let passage = Passage::read(&self.passage)?;
        let key = WireguardKey::read(&passage.key_file)?;
        hold(passage.entrance, &key.private, &passage.place, self.idle.unwrap_or(IDLE)).await
    }
}
