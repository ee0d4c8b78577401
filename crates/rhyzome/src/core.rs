//! What every part of the core works with.

use std::path::PathBuf;
use std::sync::Arc;

use pki::{Authority, Clock};
use store::Store;
use tokio_util::sync::CancellationToken;
use types::{Port, ReplicaId};

use crate::download::Downloads;
use crate::http::Limits;
use crate::image_source::PrivateSources;
use crate::segment::Segments;
use crate::serve_config::{Pools, ServeConfig};
use crate::signal::Signals;

/// The core of an installation.
pub struct Core {
    /// The database.
    pub store: Store,
    /// Which of the cores over that database this is.
    pub replica: ReplicaId,
    /// Who has to look.
    pub signals: Signals,
    /// Cancelled when the core begins to end: nobody should begin anything long any more.
    pub draining: CancellationToken,
    /// How much is served to whom.
    pub limits: Limits,
    /// Where addresses come from.
    pub pools: Pools,
    /// How networks' layer 2 reaches hypervisors.
    pub segments: Segments,
    /// The WireGuard port of slot 1.
    pub wireguard_first_port: Port,
    /// Where images' files lie.
    pub images: PathBuf,
    /// The largest image file that is taken, in bytes.
    pub image_limit: u64,
    /// How many bytes the images' files of one tenant may have in all.
    pub image_quota: Option<u64>,
    /// Which private addresses images are fetched from.
    pub private_image_sources: PrivateSources,
    /// Whoever moves images' files to their places, or away, has it.
    pub image_files: tokio::sync::Mutex<()>,
    /// Images that are fetched.
    pub downloads: Downloads,
    /// What signs agents' certificates.
    pub authority: Authority,
    /// The CA that the core's own certificate comes from, in PEM: whom agents are told to believe.
    pub server_ca: String,
    /// Says when certificates end.
    pub clock: Clock,
}

impl Core {
    /// Puts the core together.
    pub fn new(
        config: &ServeConfig,
        store: Store,
        replica: ReplicaId,
        authority: Authority,
        server_ca: String,
        downloads: Downloads,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            replica,
            signals: Signals::default(),
            draining: CancellationToken::new(),
            limits: Limits::new(&config.http.rate),
            pools: config.pools,
            segments: config.segments,
            wireguard_first_port: config.wireguard_first_port,
            images: config.images(),
            image_limit: config.image_limit,
            image_quota: config.image_quota,
            private_image_sources: config.allow_private_image_sources.clone(),
            image_files: tokio::sync::Mutex::default(),
            downloads,
            authority,
            server_ca,
            clock: Clock::system(),
        })
    }
}
