//! Thousands of instances that are there from the start: rows as creates leave them, written through `store` while no
//! core runs, and what the simulated hypervisors and routers hold of them. One network and one instance that the core
//! made itself are the patterns.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use api::{Instance, Kind, Network};
use jobs::cache::Cache;
use jobs::{Job, Object, Want};
use serde_json::{Value, json};
use store::{
    Caller, Database, JobReport, JobRow, NewEvent, NewOperation, NewResource, ResourceRow, SecretKey, Session, Store,
    Taken, Write,
};
use testbed::Ground;
use types::{
    HostAddr, ImageId, InstanceId, MacAddr, NetworkId, OperationId, ReplicaId, ResourceId, SecretText, Segment,
    TargetId, TenantName, Version,
};

/// What the patterns are called.
pub const PATTERN: &str = "pattern";
/// Instances in one network.
pub const IN_ONE: usize = 100;
/// Instances with the same tag.
pub const OF_ONE_TEAM: usize = 100;
/// The first address for instances in a network.
const FIRST: u32 = 101;
/// What the /24 of the pattern begins with.
const PREFIX: &str = "10.0.0.";

/// The name of a network.
pub fn network_name(number: usize) -> String {
    format!("network-{number}")
}

/// The name of an instance.
pub fn instance_name(number: usize) -> String {
    format!("instance-{number}")
}

/// The value of an instance's tag `team`.
pub fn team(number: usize) -> String {
    format!("team-{}", number / OF_ONE_TEAM)
}

/// A target and its name.
struct Host {
    id: TargetId,
    name: String,
}

struct Stock {
    tenant: TenantName,
    caller: Caller,
    replica: ReplicaId,
    image: ImageId,
    router: Host,
    hosts: Vec<Host>,
    network: ResourceRow,
    instance: ResourceRow,
    /// The pattern's jobs, by the first part of their objects.
    jobs: BTreeMap<String, JobRow>,
    /// What each target is to hold.
    held: BTreeMap<String, Vec<Job>>,
    /// The next id's time: each has a millisecond of its own.
    next: u64,
}

/// Writes so many instances into the database of the core that keeps its files in `core`, and into the directories of
/// simulated members.
pub async fn lay(core: &Path, ground: &Ground, members: &Path, instances: usize) -> Result<()> {
    let database = match ground.database() {
        Database::Sqlite(_) => Database::Sqlite(core.join("rhyzome.sqlite")),
        postgres => postgres,
    };
    let key = config::file::read_secret(&core.join("secret.key"))?;
    let key = data_encoding::BASE64.decode(key.reveal().trim().as_bytes())?;
    let key = SecretKey::new(key.try_into().ok().context("a key has 32 bytes")?);
    let store = Store::open(&database, key).await?;
    let mut stock = Stock::patterned(&store, instances).await?;
    for number in 0..instances.div_ceil(IN_ONE) {
        let mut session = store.write().await?;
        stock.lay_network(&mut session, number, instances).await?;
        session.commit().await?;
    }
    store.close().await;
    for (name, jobs) in stock.held {
        let cache = Cache::open(&members.join(name))?;
        jobs.iter().try_for_each(|job| cache.keep(job))?;
    }
    Ok(())
}

impl Stock {
    async fn patterned(store: &Store, instances: usize) -> Result<Self> {
        let tenant: TenantName = "local".parse()?;
        let caller = Caller::core();
        let mut session = store.write().await?;
        let replica = ReplicaId::make(session.now_unsigned())?;
        let mut named = async |noun: &str, name: &str| -> Result<ResourceRow> {
            let id = session.resource_named(&caller, &tenant, noun, &name.parse()?).await?;
            Ok(session.resource(&caller, id).await?)
        };
        let network = named(Network::NOUN, PATTERN).await?;
        let instance = named(Instance::NOUN, PATTERN).await?;
        let ResourceId::Image(image) = named("image", "tiny").await?.id else {
            anyhow::bail!("an image has another id")
        };
        let mut targets = Vec::new();
        for row in session.targets(&caller, None).await? {
            targets.push((row.target.kind == "router", Host { id: row.target.id, name: row.target.name }));
        }
        let (routers, hosts): (Vec<_>, Vec<_>) = targets.into_iter().partition(|(is_router, _)| *is_router);
        let router = network.holder.as_ref().context("the pattern has a router")?.target;
        let router = routers.into_iter().map(|(_, host)| host).find(|host| host.id == router);
        let mut jobs = BTreeMap::new();
        for holder in [&network.holder, &instance.holder].into_iter().flatten() {
            for row in session.jobs_of_target(&caller, holder.target).await? {
                jobs.insert(row.object.split('/').next().unwrap_or_default().to_owned(), row);
            }
        }
        let next = session.now_unsigned() - 2 * instances as u64;
        Ok(Self {
            tenant,
            caller,
            replica,
            image,
            router: router.context("the pattern's router is known")?,
            hosts: hosts.into_iter().map(|(_, host)| host).collect(),
            network,
            instance,
            jobs,
            held: BTreeMap::new(),
            next,
        })
    }

    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    async fn lay_network(&mut self, session: &mut Session<'_, Write>, number: usize, instances: usize) -> Result<()> {
        let (id, name) = (NetworkId::make(self.tick())?, network_name(number));
        let [high, low] = u16::try_from(number + 1)?.to_be_bytes();
        let prefix = format!("10.{high}.{low}.");
        let mut changes = vec![
            (self.network.id.to_string(), id.to_string()),
            (PREFIX.to_owned(), prefix.clone()),
            (PATTERN.to_owned(), name.clone()),
        ];
        let spec = changed(&self.network.spec, &changes)?;
        let status = self.network.status.clone();
        self.add_resource(session, id.into(), &name, &spec, &status, None).await?;
        let caller = self.caller.clone();
        let slot = session.take_slot(&caller, self.router.id, id).await?;
        let segment = session.take_segment(&caller, id).await?;
        let subnet = format!("{prefix}0/24").parse()?;
        session.take_subnet(&caller, self.router.id, id, Some(subnet), (subnet, 24)).await?;
        self.add_secret(session, id.into(), "wireguard-private-key", "network", &mut changes).await?;
        self.add_operation(session, id.into(), "network.create", &["router"]).await?;
        let mut leases = serde_json::Map::new();
        for instance in number * IN_ONE..instances.min((number + 1) * IN_ONE) {
            let (id, lease) = self.lay_instance(session, instance, &changes, segment).await?;
            leases.insert(id.to_string(), lease);
        }
        let mut desired = changed(self.pattern("network")?, &changes)?;
        desired["slot"] = json!(slot);
        desired["segment"] = json!(segment);
        let first = self.pattern("network")?["wireguard"]["port"].as_u64().context("a port")?;
        let patterns_slot = self.pattern("network")?["slot"].as_u64().context("a slot")?;
        desired["wireguard"]["port"] = json!(first - patterns_slot + u64::from(slot.get()));
        let entries = leases.keys().map(|id| (id.clone(), ("applied".to_owned(), None))).collect();
        desired["leases"] = Value::Object(leases);
        let (router, name) = (self.router.id, self.router.name.clone());
        self.add_job(session, (router, name), Object::Network(id), desired, entries).await
    }

    async fn lay_instance(
        &mut self,
        session: &mut Session<'_, Write>,
        number: usize,
        of_network: &[(String, String)],
        segment: Segment,
    ) -> Result<(InstanceId, Value)> {
        let (id, name) = (InstanceId::make(self.tick())?, instance_name(number));
        let mac = MacAddr::of_guest(u32::try_from(number + 1)?.to_be_bytes()[1..].try_into()?);
        let last = FIRST + u32::try_from(number % IN_ONE)?;
        let (network, prefix) = (&of_network[0].1, &of_network[1].1);
        let address: HostAddr = HostAddr::try_from(format!("{prefix}{last}").parse::<Ipv4Addr>()?)?;
        let network: NetworkId = network.parse()?;
        let of_pattern = |field: &str| self.instance.status[field].as_str().unwrap_or_default().to_owned();
        let mut changes = vec![
            (of_pattern("address"), address.to_string()),
            (of_pattern("mac"), mac.to_string()),
            (self.instance.id.to_string(), id.to_string()),
            (format!("\"hostname\":\"{PATTERN}\""), format!("\"hostname\":\"{name}\"")),
            (format!("\"name\":\"{PATTERN}\""), format!("\"name\":\"{name}\"")),
        ];
        changes.extend(of_network.iter().cloned());
        let spec = changed(&self.instance.spec, &changes)?;
        let status = changed(&self.instance.status, &changes)?;
        self.add_resource(session, id.into(), &name, &spec, &status, Some(team(number))).await?;
        let caller = self.caller.clone();
        session.take_address(&caller, network, id, Some(address), &[]).await?;
        session.take_mac(&caller, id, mac).await?;
        self.add_secret(session, id.into(), "ssh-host-key", "instance", &mut changes).await?;
        session.set_references(&caller, id.into(), &[network.into(), self.image.into()]).await?;
        let host = &self.hosts[number % self.hosts.len()];
        let (host, host_name) = (host.id, host.name.clone());
        session.place(&caller, id, host, Taken { vcpus: 1, memory_mib: 512, disk_bytes: 1 << 30 }).await?;
        session.serve_lease(&caller, id, true).await?;
        let steps = ["place", "segment", "image", "lease", "machine"];
        self.add_operation(session, id.into(), "instance.create", &steps).await?;
        let mut objects = vec![(Object::Segment(network), "segment"), (Object::Instance(id), "instance")];
        if number < self.hosts.len() {
            objects.push((Object::Image(self.image), "image"));
        }
        for (object, pattern) in objects {
            let mut desired = changed(self.pattern(pattern)?, &changes)?;
            match pattern {
                "segment" => desired["segment"] = json!(segment),
                "instance" => desired["nic"]["segment"] = json!(segment),
                _ => {}
            }
            self.add_job(session, (host, host_name.clone()), object, desired, BTreeMap::new()).await?;
        }
        Ok((id, json!({ "name": name, "mac": mac, "address": address })))
    }

    /// The desired state of the pattern's object of that sort.
    fn pattern(&self, sort: &str) -> Result<&Value> {
        self.jobs.get(sort).and_then(|row| row.desired.as_ref()).with_context(|| format!("the pattern has no {sort}"))
    }

    async fn add_resource(
        &self,
        session: &mut Session<'_, Write>,
        id: ResourceId,
        name: &str,
        spec: &Value,
        status: &Value,
        team: Option<String>,
    ) -> Result<()> {
        let mut tags = types::Tags::default();
        if let Some(team) = team {
            tags.insert("team".parse()?, team.parse()?);
        }
        let kind = if matches!(id, ResourceId::Network(_)) { Network::NOUN } else { Instance::NOUN };
        let new = NewResource {
            id,
            tenant: &self.tenant,
            kind,
            name: &name.parse()?,
            tags: &tags,
            spec_version: self.network.spec_version,
            spec,
            status,
        };
        session.add_resource(&self.caller, &new).await?;
        Ok(session.set_state(&self.caller, id, "ready").await?)
    }

    /// Seals a secret, and has desired states name it in the place of the pattern's.
    async fn add_secret(
        &self,
        session: &mut Session<'_, Write>,
        id: ResourceId,
        purpose: &str,
        pattern: &str,
        changes: &mut Vec<(String, String)>,
    ) -> Result<()> {
        let text = SecretText::new("no machine ever reads this".to_owned());
        let made = session.add_secret(&self.caller, id, purpose, &text).await?;
        let named = jobs::secret_field::references(self.pattern(pattern)?);
        changes.extend(named.iter().map(|secret| (secret.to_string(), made.to_string())));
        Ok(())
    }

    /// An operation that was worked to its end.
    async fn add_operation(
        &mut self,
        session: &mut Session<'_, Write>,
        resource: ResourceId,
        action: &str,
        steps: &[&str],
    ) -> Result<()> {
        let id = OperationId::make(self.tick())?;
        let new = NewOperation { id, resource, action, deadline_ms: 600_000, previous_spec: None, steps };
        session.add_operation(&self.caller, &new).await?;
        let claim = session.claim_operation(&self.caller, self.replica).await?.context("nothing else is to be done")?;
        for position in 0..u32::try_from(steps.len())? {
            session.set_step(claim, position, "done", None, None).await?;
        }
        session.finish_operation(claim, "succeeded", None).await?;
        let event = NewEvent { resource, change: "ready", operation: Some(id), message: None };
        Ok(session.add_event(&self.caller, &event).await?)
    }

    /// A job that its target has applied, and still holds.
    async fn add_job(
        &mut self,
        session: &mut Session<'_, Write>,
        (target, name): (TargetId, String),
        object: Object,
        desired: Value,
        entries: BTreeMap<String, (String, Option<String>)>,
    ) -> Result<()> {
        let text = object.to_string();
        let version: Version =
            session.render_job(&self.caller, target, &text, object.resource(), Some(&desired)).await?;
        let report = JobReport { object: text, version, outcome: "applied", reason: None, entries };
        session.keep_report(&self.caller, target, &report).await?;
        let job = Job { object, version, requires: Vec::new(), want: Want::Desired(desired.to_string()) };
        self.held.entry(name).or_default().push(job);
        Ok(())
    }
}

/// The pattern's JSON with other texts in the place of its own.
fn changed(pattern: &Value, changes: &[(String, String)]) -> Result<Value> {
    let text = changes.iter().fold(pattern.to_string(), |text, (from, to)| text.replace(from, to));
    Ok(serde_json::from_str(&text)?)
}
