//! Dusk applies on a router: what was confirmed is there, what was not is not, whatever ends in between.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dusk::apply::{Applier, Confirm, JOURNAL, Places};
use fleet::apply::{Outcome, Report};
use fleet::facts::Facts;
use fleet::layer::{Execute, Member, Origin, Placed};
use fleet::sealed::NoSecrets;
use serde_json::json;
use ubus::Local;

use e2e::installation::{programs_dir, wait_for};
use e2e::machine;

/// How long daemons of this router may take to act.
const SETTLE: Duration = Duration::from_secs(2);

/// A router, and dusk beside it.
struct Device {
    dir: tempfile::TempDir,
    router: Option<Child>,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.power_off();
    }
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("dusk-e2e-").tempdir_in("/tmp").unwrap();
        let settings = json!({ "data_dir": dir.path().join("router"), "listen": "127.0.0.1:0", "netns": "dusk-e2e" });
        fs::write(dir.path().join("router.json"), settings.to_string()).unwrap();
        fs::create_dir_all(dir.path().join("root/etc/dropbear")).unwrap();
        symlink(dir.path().join("router/config"), dir.path().join("root/etc/config")).unwrap();
        fs::write(dir.path().join("root/etc/banner"), "theirs\n").unwrap();
        let mut device = Self { dir, router: None };
        device.power_on();
        device
    }

    fn power_on(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("router.log")).unwrap();
        let mut command = Command::new(programs_dir().join("rhyzome-router"));
        command.arg("serve").arg("--config").arg(self.dir.path().join("router.json"));
        let router = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.router = Some(router);
        let socket = self.socket();
        wait_for("the router answers", || std::os::unix::net::UnixStream::connect(&socket).ok());
    }

    /// As a power cut ends it.
    fn power_off(&mut self) {
        if let Some(mut router) = self.router.take() {
            router.kill().unwrap();
            router.wait().unwrap();
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("router/ubus.sock")
    }

    fn applier(&self) -> Applier {
        let restore = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dusk/openwrt/files/restore.sh");
        let (root, lock) = (self.dir.path().join("root"), self.dir.path().join("lock"));
        Applier::new(Arc::new(Local::new(&self.socket())), Places { root, lock, restore }).with_settle(SETTLE)
    }

    /// What a boot does before its network comes up.
    fn boot(&mut self) {
        let restore = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dusk/openwrt/files/restore.sh");
        let root = self.dir.path().join("root");
        let said = machine::run("busybox", &["sh", restore.to_str().unwrap(), root.to_str().unwrap()]);
        println!("{said}");
        self.power_on();
    }

    fn file(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join("root").join(path.trim_start_matches('/'))).ok()
    }

    /// The addresses that the router's bridge has, as the kernel says.
    fn addresses(&self) -> String {
        let arguments = ["netns", "exec", "dusk-e2e", "ip", "-4", "-oneline", "-brief", "address"];
        machine::run("ip", &arguments)
    }

    fn has_address(&self, address: &str) -> bool {
        self.addresses().contains(address)
    }

    fn is_quiet(&self) -> bool {
        self.file(JOURNAL).is_none() && self.file("/etc/dusk/apply/keep").is_none()
    }

    /// The UCI files, without sections' names that dusk gave.
    fn uci(&self) -> Vec<String> {
        ["network", "firewall", "system", "dhcp"]
            .map(|name| self.file(&format!("/etc/config/{name}")).unwrap())
            .to_vec()
    }
}

/// Master, as this test has it: it is reached over the new configuration, or not.
struct Master<'a> {
    answers: Box<dyn Fn() -> bool + Send + Sync + 'a>,
    was_asked: AtomicBool,
}

impl<'a> Master<'a> {
    fn that(answers: impl Fn() -> bool + Send + Sync + 'a) -> Self {
        Self { answers: Box::new(answers), was_asked: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Confirm for Master<'_> {
    async fn confirm(&self) -> Result<(), String> {
        self.was_asked.store(true, Ordering::SeqCst);
        (self.answers)().then_some(()).ok_or_else(|| "no answer from master".to_owned())
    }
}

fn member() -> Member {
    Member {
        id: "00112233445566778899".parse().unwrap(),
        name: "attic".parse().unwrap(),
        groups: vec!["ap".parse().unwrap()],
        facts: Facts::default(),
    }
}

fn placed(path: &str, text: &str) -> Placed {
    let origin = Origin { section: path.parse().unwrap(), signer: "ana".to_owned() };
    Placed::read(origin, text.as_bytes(), Execute::Signed).unwrap().unwrap()
}

/// A bridge with this address, and something of everything else.
fn wish(address: &str) -> Vec<Placed> {
    let network = format!(
        "config device 'yard_bridge'\n\toption name 'br-yard'\n\toption type 'bridge'\n\toption bridge_empty '1'\n\
         config interface 'yard'\n\toption device 'br-yard'\n\toption proto 'static'\n\toption ipaddr '{address}'\n\
         \toption netmask '255.255.255.0'\n"
    );
    vec![
        placed(
            "policies/base/policy",
            "config apply\n\toption deadline '10'\nconfig probe\n\toption kind 'interface'\n\toption target 'yard'\n",
        ),
        placed("groups/ap/config/network", &network),
        placed("groups/ap/config/system", "config system\n\toption hostname '${device_name}'\n"),
        placed("groups/ap/config/sqm", "config queue 'wan'\n\toption enabled '0'\n"),
        placed(
            "groups/ap/files/banner",
            &format!("config file\n\toption path '/etc/banner'\n\toption mode '0640'\n\toption content '{address}'\n"),
        ),
        placed("groups/ap/packages", "config packages\n\tlist wanted 'luci'\n"),
    ]
}

async fn apply(device: &Device, sections: &[Placed], master: &Master<'_>) -> Report {
    let member = member();
    let wish = dusk::apply::Wish { change: "17", member: &member, sections, unreadable: &[], opener: &NoSecrets };
    let report = device.applier().apply(wish, master).await.unwrap();
    println!("{report:?}");
    report
}

/// Begins to apply, and is gone once master was asked.
async fn die_applying(device: &Device, sections: &[Placed]) {
    let master = Master::that(|| false);
    let asked = async {
        while !master.was_asked.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = apply(device, sections, &master) => panic!("it was to be gone by then"),
        () = asked => {}
    }
}

#[test]
fn a_router_has_what_was_confirmed_and_nothing_else() {
    machine::on_own_machine("dusk_apply::a_router_has_what_was_confirmed_and_nothing_else", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story());
    });
}

async fn story() {
    let mut device = Device::new();
    let before = device.uci();

    println!("==> a change that works");
    let report = apply(&device, &wish("10.7.1.1"), &Master::that(|| device.has_address("10.7.1.1/24"))).await;
    assert_eq!(report.attempt, Some(Outcome::Applied));
    let of = |path: &str| report.outcomes[&path.parse().unwrap()].to_string();
    assert_eq!(of("groups/ap/config/network"), "applied");
    assert_eq!(of("groups/ap/packages"), "rejected: luci is not installed");
    assert!(device.is_quiet() && device.has_address("10.7.1.1/24"), "{}", device.addresses());
    assert_eq!(device.file("/etc/banner").as_deref(), Some("10.7.1.1"));
    assert!(device.file("/etc/config/system").unwrap().contains("option hostname 'attic'"));
    assert!(device.file("/etc/config/sqm").unwrap().contains("config queue 'wan'"));
    let report = apply(&device, &wish("10.7.1.1"), &Master::that(|| false)).await;
    assert_eq!(report.attempt, None, "there is nothing left to do");
    let applied = device.uci();

    let applier = device.applier();
    let status = dusk::device::status(applier.client(), device.dir.path()).await.unwrap();
    assert_eq!(status.board.board, "rhyzome,router");
    assert!(
        status.uptime > 0 && status.load.len() == 3 && status.memory.total > 0 && status.flash.total > 0,
        "{status:?}"
    );
    let yard = status.interfaces.iter().find(|interface| interface.name == "yard").unwrap();
    assert_eq!((yard.is_up, yard.device.as_str(), yard.addresses[0].as_str()), (true, "br-yard", "10.7.1.1/24"));
    assert_eq!(fleet::status::Status::decode(&status.encode()), Ok(status));

    println!("==> a change that cuts the device off");
    let report = apply(&device, &wish("10.7.2.1"), &Master::that(|| false)).await;
    let Some(Outcome::Reverted(reason)) = &report.attempt else { panic!("{report:?}") };
    assert!(reason.contains("not confirmed within 10 s: no answer from master"), "{reason}");
    assert!(device.is_quiet());
    assert_eq!(device.uci(), applied);
    assert_eq!(device.file("/etc/banner").as_deref(), Some("10.7.1.1"));
    wait_for("the address is back", || device.has_address("10.7.1.1/24").then_some(()));

    println!("==> a change that does not do what it should");
    let mut bad = wish("10.7.3.1");
    bad.push(placed("groups/ap/config/dhcp", "config dhcp 'yard'\n\toption interface '${nowhere}'\n"));
    bad[1] =
        placed("groups/ap/config/network", "config interface 'yard'\n\toption proto 'static'\n\toption ipaddr 'x'\n");
    let report = apply(&device, &bad, &Master::that(|| true)).await;
    let of = |path: &str| report.outcomes[&path.parse().unwrap()].to_string();
    assert!(of("groups/ap/config/network").contains("probe interface yard: the interface is down"), "{report:?}");
    assert!(
        of("groups/ap/config/dhcp").starts_with("rejected: groups/ap/config/dhcp, line 2, section yard"),
        "{report:?}"
    );
    assert_eq!(device.uci(), applied);

    println!("==> the power goes while master is asked");
    die_applying(&device, &wish("10.7.4.1")).await;
    assert!(device.file(JOURNAL).is_some() && device.file("/etc/config/network").unwrap().contains("10.7.4.1"));
    device.power_off();
    device.boot();
    assert!(device.is_quiet());
    assert_eq!(device.uci(), applied);
    assert_eq!(device.file("/etc/banner").as_deref(), Some("10.7.1.1"));
    wait_for("the address is that of before", || device.has_address("10.7.1.1/24").then_some(()));
    let told = device.applier().recover().await.unwrap();
    assert!(told.is_some_and(|told| told.contains("taken back")));

    println!("==> the power goes, and somebody writes before the boot is done");
    die_applying(&device, &wish("10.7.4.1")).await;
    device.power_off();
    let path = device.dir.path().join("router/config/network");
    let theirs = "\nconfig interface 'theirs'\n\toption proto 'none'\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + theirs).unwrap();
    device.boot();
    let network = device.file("/etc/config/network").unwrap();
    assert!(network.contains("'theirs'") && network.contains("10.7.1.1") && !network.contains("10.7.4.1"), "{network}");

    println!("==> the agent alone dies");
    die_applying(&device, &wish("10.7.5.1")).await;
    let told = device.applier().recover().await.unwrap();
    assert!(told.is_some() && device.is_quiet());
    let network = device.file("/etc/config/network").unwrap();
    assert!(network.contains("10.7.1.1") && !network.contains("10.7.5.1"), "{network}");
    let report = apply(&device, &wish("10.7.5.1"), &Master::that(|| true)).await;
    assert!(report.attempt.unwrap().to_string().contains("another change on the router waits for its confirmation"));
    let mut report = Report::default();
    for _ in 0..60 {
        report = apply(&device, &wish("10.7.5.1"), &Master::that(|| device.has_address("10.7.5.1/24"))).await;
        if report.attempt == Some(Outcome::Applied) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(
        report.attempt,
        Some(Outcome::Applied),
        "the router took the change back by itself, and the next is applied"
    );

    println!("==> the fleet lets go of the device");
    let report = apply(&device, &wish("10.7.5.1")[..1], &Master::that(|| true)).await;
    // The probe of the policy asks for an interface that is no more.
    assert!(matches!(report.attempt, Some(Outcome::Reverted(_))), "{report:?}");
    let report = apply(&device, &[], &Master::that(|| true)).await;
    assert_eq!(report.attempt, Some(Outcome::Applied), "{report:?}");
    let canonical = |texts: Vec<String>| -> Vec<String> {
        let lines = texts.iter().flat_map(|text| text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        lines.filter(|line| !line.contains("'theirs'") && !line.contains("'none'")).collect()
    };
    assert_eq!(canonical(device.uci()), canonical(before));
    assert_eq!(device.file("/etc/banner").as_deref(), Some("theirs\n"));
    wait_for("the bridge is gone", || (!device.addresses().contains("br-yard")).then_some(()));
}
