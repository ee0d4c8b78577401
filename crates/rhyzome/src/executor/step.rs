//! The steps that operations are made of: what each begins, settles and undoes, all of it in the database.

use jobs::Object;
use store::{Caller, Session, StoreError, Write};
use types::{ImageId, InstanceId, NetworkId, PeerId, ResourceId, TargetId};

use super::awaited::Await;
use super::place;
use crate::core::Core;
use crate::image_source;
use crate::render::{self, read, spec};

/// What an operation does at one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The router brings the network up, or changes it.
    Router,
    /// The router holds nothing of the network any more.
    RouterGone,
    /// A hypervisor is chosen.
    Place,
    /// The hypervisor has the network's layer 2.
    Segment,
    /// The hypervisor has the image.
    CacheImage,
    /// The router serves the instance's lease.
    Lease,
    /// The hypervisor has the machine as asked.
    Machine,
    /// The hypervisor holds nothing of the machine any more.
    MachineGone,
    /// The router serves the lease no more.
    LeaseGone,
    /// The hypervisor holds no segment that nobody there needs.
    SegmentGone,
    /// The image's file is here.
    Content,
    /// No hypervisor holds the image any more.
    CacheGone,
    /// The routers admit the peer to its networks and to no others.
    Admit,
    /// No router admits the peer any more.
    Dismiss,
}

/// What came of beginning a step.
pub enum Begun {
    /// It is done when these are confirmed.
    Awaiting(Vec<Await>),
    /// It cannot begin yet, for this reason.
    NotYet(String),
    /// It can never be done, for this reason.
    Impossible(String),
}

const NAMES: [(Step, &str); 14] = [
    (Step::Router, "router"),
    (Step::RouterGone, "router-gone"),
    (Step::Place, "place"),
    (Step::Segment, "segment"),
    (Step::CacheImage, "image"),
    (Step::Lease, "lease"),
    (Step::Machine, "machine"),
    (Step::MachineGone, "machine-gone"),
    (Step::LeaseGone, "lease-gone"),
    (Step::SegmentGone, "segment-gone"),
    (Step::Content, "content"),
    (Step::CacheGone, "cache-gone"),
    (Step::Admit, "admit"),
    (Step::Dismiss, "dismiss"),
];

impl Step {
    /// The step's name in the database and the interface.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(step, _)| *step == self).map_or("unknown", |(_, name)| name)
    }

    /// The step of that name.
    pub fn named(name: &str) -> Result<Self, StoreError> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(step, _)| *step)
            .ok_or_else(|| StoreError::Corrupt { column: "step.name", detail: format!("no step is called {name}") })
    }

    /// Renders what the step needs of targets. Beginning twice does no more than beginning once.
    pub async fn begin(
        self,
        core: &Core,
        session: &mut Session<'_, Write>,
        resource: ResourceId,
    ) -> Result<Begun, StoreError> {
        match (self, resource) {
            (Self::Router, ResourceId::Network(id)) => network(core, session, id).await,
            (Self::RouterGone, ResourceId::Network(id)) => network_gone(session, id).await,
            (Self::Place, ResourceId::Instance(id)) => place::begin(core, session, id).await,
            (Self::Segment | Self::CacheImage | Self::Machine, ResourceId::Instance(id)) => {
                on_hypervisor(self, core, session, id).await
            }
            (Self::Lease, ResourceId::Instance(id)) => lease(core, session, id, true).await,
            (Self::LeaseGone, ResourceId::Instance(id)) => lease(core, session, id, false).await,
            (Self::MachineGone, ResourceId::Instance(id)) => machine_gone(session, id).await,
            (Self::SegmentGone, ResourceId::Instance(id)) => segment_gone(core, session, id).await,
            (Self::Content, ResourceId::Image(id)) => content(core, session, id).await,
            (Self::CacheGone, ResourceId::Image(id)) => all_gone(session, id.into()).await,
            (Self::Admit, ResourceId::Peer(id)) => admit(core, session, id).await,
            (Self::Dismiss, ResourceId::Peer(id)) => dismiss(core, session, id).await,
            _ => Err(StoreError::Corrupt {
                column: "step.name",
                detail: format!("{} is no step for {resource}", self.name()),
            }),
        }
    }

    /// Tidies the database up when the step is done.
    pub async fn settle(self, session: &mut Session<'_, Write>, resource: ResourceId) -> Result<(), StoreError> {
        let (Self::Admit | Self::Dismiss, ResourceId::Peer(peer)) = (self, resource) else { return Ok(()) };
        let caller = Caller::core();
        let wanted = match self {
            Self::Admit => wanted_networks(session, peer).await?,
            _ => Vec::new(),
        };
        for network in session.admissions(&caller, peer).await? {
            if !wanted.contains(&network) {
                session.dismiss(&caller, peer, network).await?;
            }
        }
        Ok(())
    }

    /// Takes a step of a create back, without waiting for targets; gives the targets that have something to do. What a
    /// create took out of the pools, a placement too, returns when the targets have confirmed; a cached image that
    /// nobody uses goes by itself.
    pub async fn undo(
        self,
        core: &Core,
        session: &mut Session<'_, Write>,
        resource: ResourceId,
    ) -> Result<Vec<TargetId>, StoreError> {
        let opposite = match self {
            Self::Router => Self::RouterGone,
            Self::Segment => Self::SegmentGone,
            Self::Lease => Self::LeaseGone,
            Self::Machine => Self::MachineGone,
            Self::Admit => Self::Dismiss,
            Self::Place
            | Self::CacheImage
            | Self::Content
            | Self::RouterGone
            | Self::MachineGone
            | Self::LeaseGone
            | Self::SegmentGone
            | Self::CacheGone
            | Self::Dismiss => return Ok(Vec::new()),
        };
        match Box::pin(opposite.begin(core, session, resource)).await? {
            Begun::Awaiting(awaits) => Ok(super::awaited::targets(&awaits)),
            Begun::NotYet(_) | Begun::Impossible(_) => Ok(Vec::new()),
        }
    }
}

async fn network(core: &Core, session: &mut Session<'_, Write>, id: NetworkId) -> Result<Begun, StoreError> {
    let rendered = render::network(session, &Caller::core(), id, core.wireguard_first_port, core.segments).await?;
    Ok(Begun::Awaiting(rendered.map(Await::whole).into_iter().collect()))
}

/// Why others cannot enter a network yet, or ever; nothing if they can.
async fn closed(session: &mut Session<'_, Write>, network: NetworkId) -> Result<Option<Begun>, StoreError> {
    let row = session.resource(&Caller::core(), network.into()).await?;
    Ok(match row.state.as_str() {
        "creating" => Some(Begun::NotYet(format!("the network {} is not ready", row.name))),
        "failed" => Some(Begun::Impossible(format!("the network {} could not be made", row.name))),
        "deleting" => Some(Begun::Impossible(format!("the network {} is being deleted", row.name))),
        _ => None,
    })
}

async fn network_gone(session: &mut Session<'_, Write>, id: NetworkId) -> Result<Begun, StoreError> {
    all_gone(session, id.into()).await
}

/// Writes tombstones for every object of a resource on every target.
async fn all_gone(session: &mut Session<'_, Write>, resource: ResourceId) -> Result<Begun, StoreError> {
    let caller = Caller::core();
    let mut awaits = Vec::new();
    for job in session.jobs_of_resource(&caller, resource).await? {
        let object: Object = job.object.parse().map_err(|error: types::ParseError| StoreError::Corrupt {
            column: "job.object",
            detail: error.to_string(),
        })?;
        awaits.push(Await::whole(render::gone(session, &caller, job.target, object).await?));
    }
    Ok(Begun::Awaiting(awaits))
}

async fn on_hypervisor(
    step: Step,
    core: &Core,
    session: &mut Session<'_, Write>,
    id: InstanceId,
) -> Result<Begun, StoreError> {
    let caller = Caller::core();
    let Some(hypervisor) = session.placement(&caller, id).await? else {
        return Ok(Begun::NotYet("the instance is not placed".to_owned()));
    };
    let (_, asked) = spec::<api::Instance, _>(session, &caller, id).await?;
    let (Some(network), Some(image)) = (asked.network.id(), asked.image.id()) else {
        return Ok(Begun::Impossible("the instance has no network or no image".to_owned()));
    };
    match step {
        Step::Segment => {
            if let Some(begun) = closed(session, network).await? {
                return Ok(begun);
            }
        }
        Step::CacheImage => {
            let row = session.resource(&caller, image.into()).await?;
            match row.state.as_str() {
                "failed" => return Ok(Begun::Impossible(format!("the image {} could not be made", row.name))),
                "creating" => return Ok(Begun::NotYet(format!("the image {} is not ready", row.name))),
                _ => {}
            }
        }
        Step::Machine => {
            if let Some(reason) = place::hold(session, id, hypervisor).await? {
                return Ok(Begun::Impossible(reason));
            }
        }
        _ => {}
    }
    let rendered = match step {
        Step::Segment => {
            let rendered = render::segment(session, &caller, hypervisor, network, core.segments).await?;
            core.segments.tell_others(session, network, hypervisor, core.wireguard_first_port).await?;
            rendered
        }
        Step::CacheImage => render::image(session, &caller, hypervisor, image).await?,
        _ => render::instance(session, &caller, hypervisor, id).await?,
    };
    Ok(Begun::Awaiting(vec![Await::whole(rendered)]))
}

async fn lease(
    core: &Core,
    session: &mut Session<'_, Write>,
    id: InstanceId,
    served: bool,
) -> Result<Begun, StoreError> {
    let caller = Caller::core();
    let (_, asked) = spec::<api::Instance, _>(session, &caller, id).await?;
    let Some(network) = asked.network.id() else {
        return Ok(Begun::Impossible("the instance has no network".to_owned()));
    };
    if served && let Some(begun) = closed(session, network).await? {
        return Ok(begun);
    }
    session.serve_lease(&caller, id, served).await?;
    let rendered = render::network(session, &caller, network, core.wireguard_first_port, core.segments).await?;
    let awaited = rendered.map(|rendered| match served {
        true => Await::entry(rendered, id),
        false => Await::whole(rendered),
    });
    Ok(Begun::Awaiting(awaited.into_iter().collect()))
}

async fn machine_gone(session: &mut Session<'_, Write>, id: InstanceId) -> Result<Begun, StoreError> {
    all_gone(session, id.into()).await
}

/// Takes the network's segment off the hypervisor when no other instance there is on it.
async fn segment_gone(core: &Core, session: &mut Session<'_, Write>, id: InstanceId) -> Result<Begun, StoreError> {
    let caller = Caller::core();
    let Some(hypervisor) = session.placement(&caller, id).await? else { return Ok(Begun::Awaiting(Vec::new())) };
    let (_, asked) = spec::<api::Instance, _>(session, &caller, id).await?;
    let Some(network) = asked.network.id() else { return Ok(Begun::Awaiting(Vec::new())) };
    let object = Object::Segment(network);
    let held = session.job(&caller, hypervisor, &object.to_string()).await?.is_some();
    let needed = session.placed_referrers(&caller, hypervisor, network.into(), id).await? > 0;
    if !held || needed {
        return Ok(Begun::Awaiting(Vec::new()));
    }
    let gone = render::gone(session, &caller, hypervisor, object).await?;
    core.segments.tell_others(session, network, hypervisor, core.wireguard_first_port).await?;
    Ok(Begun::Awaiting(vec![Await::whole(gone)]))
}

async fn content(core: &Core, session: &mut Session<'_, Write>, id: ImageId) -> Result<Begun, StoreError> {
    let row = session.resource(&Caller::core(), id.into()).await?;
    let status: api::ImageStatus = read("status.body", row.status)?;
    if status.virtual_size.is_some() {
        return Ok(Begun::Awaiting(Vec::new()));
    }
    let asked: api::ImageSpec = read("resource.spec", row.spec)?;
    match (asked.url, core.downloads.failure(id)) {
        (None, _) => Ok(Begun::NotYet("waits for the file to be sent".to_owned())),
        (Some(_), Some(reason)) => Ok(Begun::Impossible(reason)),
        (Some(url), None) => {
            core.downloads.want(id, &url, asked.sha256);
            let shown = image_source::parse(&url).map(|url| image_source::shown(&url)).unwrap_or_default();
            Ok(Begun::NotYet(format!("fetches {shown}")))
        }
    }
}

async fn wanted_networks(session: &mut Session<'_, Write>, peer: PeerId) -> Result<Vec<NetworkId>, StoreError> {
    let (_, asked) = spec::<api::Peer, _>(session, &Caller::core(), peer).await?;
    Ok(asked.networks.iter().filter_map(api::Reference::id).collect())
}

async fn admit(core: &Core, session: &mut Session<'_, Write>, peer: PeerId) -> Result<Begun, StoreError> {
    let caller = Caller::core();
    let wanted = wanted_networks(session, peer).await?;
    for network in &wanted {
        if let Some(begun) = closed(session, *network).await? {
            return Ok(begun);
        }
    }
    for network in &wanted {
        session.admit(&caller, peer, *network, true).await?;
    }
    let mut awaits = Vec::new();
    for network in session.admissions(&caller, peer).await? {
        let served = wanted.contains(&network);
        session.admit(&caller, peer, network, served).await?;
        let rendered = render::network(session, &caller, network, core.wireguard_first_port, core.segments).await?;
        let awaited = |rendered| if served { Await::entry(rendered, peer) } else { Await::whole(rendered) };
        awaits.extend(rendered.map(awaited));
    }
    Ok(Begun::Awaiting(awaits))
}

async fn dismiss(core: &Core, session: &mut Session<'_, Write>, peer: PeerId) -> Result<Begun, StoreError> {
    let caller = Caller::core();
    let mut awaits = Vec::new();
    for network in session.admissions(&caller, peer).await? {
        session.admit(&caller, peer, network, false).await?;
        let rendered = render::network(session, &caller, network, core.wireguard_first_port, core.segments).await?;
        awaits.extend(rendered.map(Await::whole));
    }
    Ok(Begun::Awaiting(awaits))
}
