//! Measures `create_latency CONFIG IMAGE [ROUNDS]`: how long the target takes from a desired instance to a machine that
//! runs, against the same by hand with qemu-img, genisoimage and virsh, by turns in one run.
//!
//! CONFIG is a `rhyzome-libvirt.json` whose libvirt runs; what is made is removed again. Prints medians and their ratio.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use jobs::{Context, ImageSource, Job, Object, Outcome, Target, Want};
use rhyzome_libvirt::configuration::Configuration;
use rhyzome_libvirt::hypervisor::Hypervisor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWrite;
use types::{ImageId, InstanceId, NetworkId, Sha256Digest};

const NETWORK: NetworkId = NetworkId::from_bits(0xbe);
const IMAGE: ImageId = ImageId::from_bits(0xbe);
const SEGMENT: u32 = 0xbe;
const DISK: u64 = 1 << 30;

struct File(PathBuf);

#[async_trait]
impl ImageSource for File {
    async fn fetch(&self, _: Sha256Digest, sink: &mut (dyn AsyncWrite + Send + Unpin)) -> anyhow::Result<()> {
        tokio::io::copy(&mut tokio::fs::File::open(&self.0).await?, sink).await?;
        Ok(())
    }
}

struct Bench {
    target: Hypervisor,
    context: Context,
    configuration: Configuration,
    content: Value,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [configuration, image, rounds @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: create_latency CONFIG IMAGE [ROUNDS]")
    };
    let rounds: u64 = rounds.first().map_or(Ok(10), |rounds| rounds.parse()).context("ROUNDS is a number")?;
    let configuration = config::load::<Configuration>(Some(Path::new(configuration)), "")?.value;
    let bytes = fs::read(image)?;
    let virtual_size = u64::from_be_bytes(bytes[24..32].try_into()?);
    let sha256 = Sha256Digest::from_bytes(Sha256::digest(&bytes).into());
    let bench = Bench {
        target: Hypervisor::open(&configuration)?,
        context: Context { images: Arc::new(File(image.into())) },
        configuration,
        content: json!({"sha256": sha256, "file_size": bytes.len(), "virtual_size": virtual_size}),
    };
    bench
        .bring(Object::Segment(NETWORK), json!({"network": NETWORK, "segment": SEGMENT, "mtu": 1420, "kind": "bridge"}))
        .await?;
    bench.bring(Object::Image(IMAGE), json!({"id": IMAGE, "content": bench.content})).await?;
    // The first machine of a libvirtd waits until it has asked QEMU what it can do.
    let mut figures = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let id = InstanceId::from_bits(round + 1);
        let (ours, definition) = bench.by_target(id).await?;
        let by_hand = bench.by_hand(&definition)?;
        if round > 0 {
            figures.0.push(ours);
            figures.1.push(by_hand);
        }
    }
    bench.gone(Object::Image(IMAGE)).await?;
    bench.gone(Object::Segment(NETWORK)).await?;
    let (ours, by_hand) = (median(figures.0), median(figures.1));
    println!("instance create to running: {} ms (median of {rounds})", ours.as_millis());
    println!("the same by hand:           {} ms", by_hand.as_millis());
    println!("ratio:                      {:.2}", ours.as_secs_f64() / by_hand.as_secs_f64());
    Ok(())
}

impl Bench {
    async fn by_target(&self, id: InstanceId) -> anyhow::Result<(Duration, String)> {
        let began = Instant::now();
        self.bring(Object::Instance(id), self.instance(id)).await?;
        let took = began.elapsed();
        let definition = self.virsh(&["dumpxml", "--inactive", &id.to_string()])?;
        self.gone(Object::Instance(id)).await?;
        Ok((took, definition))
    }

    /// The very machine that the target made, with files of the same names.
    fn by_hand(&self, definition: &str) -> anyhow::Result<Duration> {
        let tag = |name: &str| -> anyhow::Result<String> {
            let rest = definition.split_once(&format!("<{name}>")).context("a definition has a name")?.1;
            Ok(rest.split('<').next().unwrap_or_default().to_owned())
        };
        let name = tag("name")?;
        let files = self.configuration.storage_dir.join("instances").join(&name);
        fs::create_dir_all(files.join("seed"))?;
        let sha256 = self.content["sha256"].as_str().unwrap_or_default();
        let image = self.configuration.storage_dir.join("images").join(format!("{sha256}.qcow2"));
        let xml = files.join("domain.xml");
        let began = Instant::now();
        run(Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(image)
            .arg(files.join("disk.qcow2"))
            .arg(DISK.to_string()))?;
        fs::write(files.join("seed/meta-data"), "instance-id: by-hand\n")?;
        fs::write(files.join("seed/user-data"), "#cloud-config\n{}\n")?;
        run(Command::new("genisoimage")
            .args(["-quiet", "-V", "cidata", "-J", "-R", "-o"])
            .arg(files.join("seed.iso"))
            .arg(files.join("seed")))?;
        fs::write(&xml, definition)?;
        self.virsh(&["define", &xml.to_string_lossy()])?;
        self.virsh(&["start", &name])?;
        let took = began.elapsed();
        self.virsh(&["destroy", &name])?;
        self.virsh(&["undefine", &name])?;
        fs::remove_dir_all(&files)?;
        Ok(took)
    }

    fn instance(&self, id: InstanceId) -> Value {
        json!({
            "id": id, "hostname": "bench", "domain": "bench.internal", "power": "running", "restarts": 0, "vcpus": 1,
            "memory": 128, "disk": DISK, "image": self.content, "ssh_keys": [], "host_key": {"value": "no key"},
            "nic": {"network": NETWORK, "segment": SEGMENT, "mac": "52:54:00:00:00:be", "address": "10.190.0.10", "mtu": 1420},
            "user_data": null,
        })
    }

    async fn bring(&self, object: Object, state: Value) -> anyhow::Result<()> {
        self.apply(object, "1:1", Want::Desired(state.to_string())).await
    }

    async fn gone(&self, object: Object) -> anyhow::Result<()> {
        self.apply(object, "1:2", Want::Gone).await
    }

    async fn apply(&self, object: Object, version: &str, want: Want) -> anyhow::Result<()> {
        let job = Job { object, version: version.parse()?, requires: Vec::new(), want };
        let reports = self.target.apply(vec![job], &self.context).await;
        let report = reports.first().context("a report comes for every job")?;
        ensure!(report.outcome == Outcome::Applied, "{object}: {:?}", report.reason);
        Ok(())
    }

    fn virsh(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(Command::new("virsh").args(["--quiet", "--connect", &self.configuration.libvirt_uri]).args(arguments))
    }
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn median(mut figures: Vec<Duration>) -> Duration {
    figures.sort();
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
