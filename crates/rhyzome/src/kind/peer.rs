//! Peers: what is valid, and what they take.

use std::collections::{BTreeMap, BTreeSet};

use api::peer::PeerNetwork;
use api::{Fault, Network, Peer, PeerSpec, PeerStatus};
use store::{Caller, ResourceRow, Session, StoreError};
use types::{PeerId, ResourceId};

use super::{Asked, Ground, Managed, assemble, resolve};
use crate::executor::Step;
use crate::refusal::Refusal;
use crate::render::{read, typed};

/// Networks of one peer, at most.
const NETWORKS: usize = 64;

impl Managed for Peer {
    const CREATE: &'static [Step] = &[Step::Admit];
    const UPDATE: &'static [Step] = &[Step::Admit];
    const DELETE: &'static [Step] = &[Step::Dismiss];
    #[cfg(test)]
    const EXAMPLE: super::Example = super::Example {
        ground: &[("network", "ground"), ("network", "other")],
        spec: r#"{"public_key": "KEY", "networks": ["ground"]}"#,
        change: r#"{"spec": {"networks": ["other"]}}"#,
    };

    fn make_id(unix_ms: u64) -> Result<PeerId, types::IdError> {
        PeerId::make(unix_ms)
    }

    fn asked(body: api::PeerCreate) -> Asked<Self> {
        Asked { name: body.name, tags: body.tags, spec: body.spec, secret: None }
    }

    async fn check(
        ground: &mut Ground<'_, '_>,
        asked: &mut Asked<Self>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Refusal> {
        if asked.spec.networks.is_empty() || asked.spec.networks.len() > NETWORKS {
            faults.push(Fault::new("/spec/networks", format!("expected 1 to {NETWORKS} networks")));
            return Ok(());
        }
        let mut seen = BTreeSet::new();
        for (place, reference) in asked.spec.networks.iter_mut().enumerate() {
            let field = format!("/spec/networks/{place}");
            let Some((id, row)) = resolve::<Network>(ground, reference, &field, faults).await? else { continue };
            if !seen.insert(id) {
                faults.push(Fault::new(&field, format!("network {} is named twice", row.name)));
            }
            let status: api::NetworkStatus = read("status.body", row.status)?;
            if status.wireguard_public_key == Some(asked.spec.public_key) {
                faults.push(Fault::new("/spec/public_key", "this is the key of the network's own server"));
            }
            let others = ground.session.served_admissions(&Caller::core(), id).await?;
            let twin = others.iter().find(|other| {
                read::<PeerSpec>("resource.spec", other.spec.clone())
                    .is_ok_and(|spec| spec.public_key == asked.spec.public_key)
                    && other.name != asked.name
            });
            if twin.is_some() {
                faults
                    .push(Fault::new("/spec/public_key", format!("another peer of network {} has this key", row.name)));
            }
        }
        Ok(())
    }

    fn compare(_before: &PeerSpec, _after: &mut PeerSpec, _faults: &mut Vec<Fault>) {}

    async fn allot(ground: &mut Ground<'_, '_>, id: PeerId, _asked: &mut Asked<Self>) -> Result<PeerStatus, Refusal> {
        let address = ground.session.take_peer_address(ground.caller, id, ground.core.pools.peers).await?;
        Ok(PeerStatus { address: Some(address), networks: Vec::new() })
    }

    fn references(spec: &PeerSpec) -> Vec<ResourceId> {
        spec.networks.iter().filter_map(api::Reference::id).map(ResourceId::from).collect()
    }

    async fn complete<Mode: Send>(
        session: &mut Session<'_, Mode>,
        page: &mut [(ResourceRow, PeerStatus)],
    ) -> Result<(), StoreError> {
        let mut wanted = Vec::with_capacity(page.len());
        for (row, _) in page.iter() {
            wanted.push(Self::references(&typed("resource.spec", &row.spec)?));
        }
        let ids: BTreeSet<ResourceId> = wanted.iter().flatten().copied().collect();
        let mut networks = BTreeMap::new();
        for row in session.resources_of(&Caller::core(), &ids).await? {
            let spec: api::NetworkSpec = typed("resource.spec", &row.spec)?;
            let seen: api::NetworkStatus = typed("status.body", &row.status)?;
            let ResourceId::Network(network) = row.id else { continue };
            let (Some(subnet), Some(public_key)) = (spec.subnet, seen.wireguard_public_key) else { continue };
            let endpoint = seen.wireguard_endpoint;
            networks.insert(row.id, PeerNetwork { network, name: row.name, subnet, public_key, endpoint });
        }
        for ((_, status), wanted) in page.iter_mut().zip(wanted) {
            status.networks = wanted.iter().filter_map(|id| networks.get(id).cloned()).collect();
        }
        Ok(())
    }

    assemble!();
}
