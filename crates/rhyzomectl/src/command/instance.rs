//! `rhyzomectl instance`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use api::instance::Power;
use api::{Instance, InstanceCreate, InstanceSpec, Reference};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use types::{
    ByteSize, HostAddr, ImageId, InstanceId, MemorySize, NetworkId, ParseError, ResourceName, SshPublicKey, Vcpus,
};

use super::resource::{self, Deletion, Listing, NewTags, Renewal, Wait};
use crate::key::LoginKey;
use crate::output::say;
use crate::session::Session;
use crate::value::{disk, duration, memory, ssh_keys};
use crate::view::{Names, facts};
use crate::{default_network, known_host, readiness};

type Which = Reference<InstanceId>;

/// The largest user-data that the server takes.
const USER_DATA: u64 = 64 * 1024;

/// What can be done with instances.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make an instance; its address is printed at once
    Create(Box<Create>),
    /// List instances
    #[command(visible_alias = "ls")]
    List(List),
    /// Show an instance
    #[command(visible_alias = "show")]
    Get {
        /// Name or id
        instance: Which,
    },
    /// Change an instance
    Update(Box<Update>),
    /// Delete instances and their disks
    #[command(visible_alias = "rm")]
    Delete {
        /// Names or ids
        #[arg(required = true)]
        instances: Vec<Which>,
        #[command(flatten)]
        deletion: Deletion,
    },
    /// Start an instance
    Start {
        /// Name or id
        instance: Which,
        #[command(flatten)]
        wait: Wait,
    },
    /// Stop an instance
    Stop {
        /// Name or id
        instance: Which,
        #[command(flatten)]
        wait: Wait,
    },
    /// Restart an instance
    Restart {
        /// Name or id
        instance: Which,
        #[command(flatten)]
        wait: Wait,
    },
    /// Wait until the guest of an instance has said that it is up
    Wait {
        /// Name or id
        instance: Which,
        /// How long to wait
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
        timeout: Duration,
    },
}

/// Which instances to list.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    listing: Listing,
    /// Only those on this network, by name or id
    #[arg(long)]
    network: Option<Reference<NetworkId>>,
    /// Only those made of this image, by name or id
    #[arg(long)]
    image: Option<Reference<ImageId>>,
    /// Only those on this hypervisor, by name or id
    #[arg(long)]
    hypervisor: Option<String>,
}

/// An instance to make.
#[derive(Args, Debug)]
pub struct Create {
    /// Its name, also its host name
    name: ResourceName,
    /// The image that its disk is cloned from, by name or id
    #[arg(long)]
    image: Reference<ImageId>,
    /// Its network, by name or id [the default network; made where there is none]
    #[arg(long)]
    network: Option<Reference<NetworkId>>,
    /// Its address [a free one of the network]
    #[arg(long)]
    address: Option<HostAddr>,
    /// Processors
    #[arg(long, default_value = "1", value_parser = vcpus)]
    vcpus: Vcpus,
    /// Memory, as in 256M or 1G
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = memory)]
    memory: MemorySize,
    /// The disk's size, as in 4G [the image's]
    #[arg(long, value_name = "SIZE", value_parser = disk)]
    disk: Option<ByteSize>,
    /// Who may log in: a public key or a file of them; may be given several times [~/.ssh/id_*.pub]
    ///
    /// A key that rhyzomectl made for itself is always added, so that `rhyzomectl ssh` works.
    #[arg(long = "ssh-key", value_name = "FILE|TEXT")]
    ssh_keys: Vec<String>,
    /// A file for cloud-init; kept as a secret and never shown
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Make it, but do not start it
    #[arg(long)]
    stopped: bool,
    #[command(flatten)]
    tags: NewTags,
    #[command(flatten)]
    wait: Wait,
}

/// An instance to change.
#[derive(Args, Debug)]
pub struct Update {
    /// Name or id
    instance: Which,
    #[command(flatten)]
    renewal: Renewal,
    /// Processors, from its next start on
    #[arg(long, value_parser = vcpus)]
    vcpus: Option<Vcpus>,
    /// Memory from its next start on, as in 256M or 1G
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<MemorySize>,
    /// Who may log in, in place of those before; read at the guest's first start
    #[arg(long = "ssh-key", value_name = "FILE|TEXT")]
    ssh_keys: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

fn vcpus(text: &str) -> Result<Vcpus, ParseError> {
    let refuse = || ParseError::new(text, "a number of processors (1 to 512)");
    Vcpus::try_from(text.parse::<i64>().map_err(|_| refuse())?).map_err(|_| refuse())
}

impl Command {
    /// Does it.
    pub async fn run(self, session: &Session) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Get { instance } => resource::get::<Instance>(session, &instance).await,
            Self::Update(update) => update.run(session).await,
            Self::Delete { instances, deletion } => {
                let gone = resource::delete::<Instance>(session, &instances, &deletion).await?;
                gone.iter().try_for_each(|instance| known_host::forget(instance, &session.home))
            }
            Self::Start { instance, wait } => power(session, &instance, Power::Running, wait).await,
            Self::Stop { instance, wait } => power(session, &instance, Power::Stopped, wait).await,
            Self::Restart { instance, wait } => {
                let accepted = session.client.restart(&instance).await;
                let accepted = accepted.with_context(|| format!("instance {instance}"))?;
                resource::accepted_now(session, accepted, wait).await
            }
            Self::Wait { instance, timeout } => {
                let instance = readiness::await_guest(session, &instance, timeout).await?.reported()?;
                let names = Names::needed_by::<Instance>(&session.client).await;
                session.format.one(&instance, || facts(&instance, &names))
            }
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let more = [
            ("network", self.network.map(|network| network.to_string())),
            ("image", self.image.map(|image| image.to_string())),
            ("hypervisor", self.hypervisor),
        ];
        resource::list::<Instance>(session, &self.listing, &more).await
    }
}

impl Create {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let user_data = self.user_data.as_ref().map(read_user_data).transpose()?;
        let ssh_keys = keys(session, &self.ssh_keys)?;
        let network = match self.network {
            Some(network) => network,
            None => default_network::existing_or_made(session).await?,
        };
        let context = format!("instance {}", self.name);
        let spec = InstanceSpec {
            network,
            image: self.image,
            address: self.address,
            vcpus: self.vcpus,
            memory_mib: self.memory,
            disk_bytes: self.disk,
            ssh_keys,
            power: if self.stopped { Power::Stopped } else { Power::Running },
            restarts: 0,
        };
        let body = InstanceCreate { name: self.name, tags: self.tags.tags(), spec, user_data };
        let accepted = session.client.create::<Instance>(&body).await.context(context)?;
        resource::accepted_now(session, accepted, self.wait).await
    }
}

impl Update {
    async fn run(self, session: &Session) -> anyhow::Result<()> {
        let mut spec = Map::new();
        if let Some(vcpus) = self.vcpus {
            spec.insert("vcpus".to_owned(), json!(vcpus));
        }
        if let Some(memory) = self.memory {
            spec.insert("memory_mib".to_owned(), json!(memory));
        }
        if !self.ssh_keys.is_empty() {
            spec.insert("ssh_keys".to_owned(), json!(keys(session, &self.ssh_keys)?));
        }
        let patch: Value = self.renewal.patch(spec)?;
        resource::update::<Instance>(session, &self.instance, &patch, self.wait).await
    }
}

async fn power(session: &Session, which: &Which, power: Power, wait: Wait) -> anyhow::Result<()> {
    resource::update::<Instance>(session, which, &json!({ "spec": { "power": power } }), wait).await
}

/// The keys that were given, or else the user's own; and always the one that `rhyzomectl ssh` logs in with.
fn keys(session: &Session, given: &[String]) -> anyhow::Result<Vec<SshPublicKey>> {
    let mut keys = Vec::new();
    for given in given {
        keys.extend(ssh_keys(given)?);
    }
    if given.is_empty() {
        for file in session.home.ssh_public_keys() {
            match ssh_keys(&file.to_string_lossy()) {
                Ok(found) => keys.extend(found),
                // Of a kind that is not known here; nobody asked for it.
                Err(error) => say(&format!("left out: {error:#}")),
            }
        }
    }
    keys.push(LoginKey::of(&session.home)?.public);
    let mut distinct: Vec<SshPublicKey> = Vec::new();
    for key in keys {
        if !distinct.iter().any(|known| known.without_comment() == key.without_comment()) {
            distinct.push(key);
        }
    }
    Ok(distinct)
}

fn read_user_data(path: &PathBuf) -> anyhow::Result<String> {
    let size = std::fs::metadata(path).with_context(|| format!("--user-data: cannot read {}", path.display()))?.len();
    if size > USER_DATA {
        bail!("--user-data: {} has {size} bytes; {USER_DATA} are the most", path.display());
    }
    std::fs::read_to_string(path).with_context(|| format!("--user-data: cannot read {}", path.display()))
}
