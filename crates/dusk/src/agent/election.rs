//! How a node becomes a voter while it runs, and stops being one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet::archive::Archive;
use fleet::node::{Flash, Serving};
use fleet::voter::Voter;
use fleet::{Moment, NodeSecret, Signed};

use super::disk::Files;
use crate::port::Port;
use crate::store::{Frames, RESTORED, Store};

/// Whoever was voted out serves for so long: those who vote now may not have heard of it yet.
const HANDING_OVER: Duration = Duration::from_secs(600);

/// What a voter whose files these are serves, and its journal.
///
/// # Errors
/// When its files cannot be read or written.
pub fn serving(
    store: &Store,
    genesis: Signed,
    secret: &Arc<NodeSecret>,
    now: Moment,
) -> anyhow::Result<(Serving, Frames)> {
    let (mut journal, decided) = store.frames(Flash::Journal)?;
    let mut archive = Archive::new(genesis, Arc::clone(secret))?;
    let decided = decided.iter().map(Vec::as_slice);
    // Whoever was restored from a backup follows before it votes.
    let has_forgotten = store.read(RESTORED)?.is_some();
    let mut voter = Voter::restore(secret.public().noise, decided, has_forgotten, &mut archive, now);
    journal.append(&voter.take_output().writes)?;
    Ok((Serving::new(archive, voter, now), journal))
}

/// Whether this node is to vote.
#[derive(Default)]
pub struct Election {
    voted_out: Option<Instant>,
    /// Whether what was restored, if it was, has heard what the others decided.
    has_followed: bool,
}

impl Election {
    /// Does what the fleet says: begins to vote, or notes that others do from here on.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn follow(&mut self, port: &mut Port<Files>, store: &Store, secret: &Arc<NodeSecret>) -> anyhow::Result<()> {
        let node = port.node();
        let (Some(authority), Some(own)) = (node.replica().authority(), node.replica().device()) else { return Ok(()) };
        let is_voter = authority.state().voters().iter().any(|(device, _)| *device == own);
        match (node.serving(), is_voter) {
            (None, true) => {
                let genesis = authority.genesis().clone();
                eprintln!("this node votes from here on");
                store.found(&genesis)?;
                let (serving, journal) = serving(store, genesis, secret, port.now())?;
                port.disk().journal = Some(journal);
                port.with_node(|node, circumstances| node.enlist(serving, circumstances))?;
            }
            (Some(_), true) => self.voted_out = None,
            (Some(serving), false) => {
                // A replica that is behind what this node serves says nothing.
                let served = serving.archive.log().authority().head().position;
                if authority.head().position >= served && self.voted_out.is_none() {
                    eprintln!("this node votes no longer");
                    self.voted_out = Some(Instant::now());
                }
            }
            (None, false) => {}
        }
        Ok(())
    }

    /// Ends what a node serves that was voted out a while ago, and removes what only voters keep.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub fn end(&mut self, port: &mut Port<Files>, store: &Store) -> anyhow::Result<()> {
        if !self.has_followed && port.node().serving().is_some_and(|serving| !serving.voter.follows()) {
            self.has_followed = true;
            store.remove(RESTORED)?;
        }
        if self.voted_out.is_none_or(|since| since.elapsed() < HANDING_OVER) {
            return Ok(());
        }
        self.voted_out = None;
        port.with_node(|node, _| {
            node.retire();
            Vec::new()
        })?;
        port.disk().journal = None;
        for user in store.users()? {
            store.remove(&format!("keys/{user}"))?;
        }
        store.remove("journal")
    }
}
