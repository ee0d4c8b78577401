//! The main job from end to end, on one installation: its checks share the guests, which take long to boot.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use e2e::installation::{Answer, Installation, wait_for};
use e2e::laptop::Laptop;
use e2e::{image, machine, outside};

#[test]
fn guests_are_apart_reachable_and_leave_no_trace() {
    let image = image::tiny();
    machine::on_own_machine("whole::guests_are_apart_reachable_and_leave_no_trace", || {
        outside::build();
        let before = machine::inventory();
        let installation = Installation::new();
        installation.up();
        let router = router_configuration(&installation);

        let guests = Guests::make(&installation, &image);
        guests.reach_each_other_inside_a_network();
        guests.do_not_reach_another_network();
        guests.reach_the_internet_and_no_private_address();
        guests.let_a_peer_into_its_networks_only();
        guests.survive_the_death_of_every_program();
        guests.delete_everything();

        assert_eq!(
            router_configuration(&installation),
            router,
            "the router's configuration is as before, byte for byte"
        );
        installation.down();
        machine::assert_as_before(&before);
        installation.down();
    });
}

/// Networks `red` and `blue`; `red` has two instances, `blue` one.
struct Guests<'a> {
    on: &'a Installation,
    addresses: BTreeMap<&'static str, String>,
}

const INSTANCES: [(&str, &str); 3] = [("red1", "red"), ("red2", "red"), ("blue1", "blue")];

impl<'a> Guests<'a> {
    fn make(on: &'a Installation, image: &std::path::Path) -> Self {
        step("make networks, image and instances");
        for network in ["red", "blue"] {
            on.ctl(&["network", "create", network, "--wait"]);
        }
        on.ctl(&["image", "import", "tiny", image.to_str().unwrap(), "--wait"]);
        let mut addresses = BTreeMap::new();
        for (instance, network) in INSTANCES {
            on.ctl(&["instance", "create", instance, "--network", network, "--image", "tiny"]);
            let asked = on.json(&["instance", "get", instance]);
            assert!(asked["status"]["guest"].is_null(), "{instance} cannot have booted yet");
            let address = asked["status"]["address"].as_str().expect("the address is known before the guest boots");
            addresses.insert(instance, address.to_owned());
        }
        for (instance, _) in INSTANCES {
            let booted = on.booted(instance);
            assert_eq!(booted["status"]["guest"]["address"], addresses[instance].as_str());
            assert_eq!(booted["status"]["guest"]["hostname"], instance);
        }
        Self { on, addresses }
    }

    fn ping(&self, from: &str, to: &str) -> Answer {
        self.on.ssh(from, &format!("ping -c 1 -W 3 {to}"))
    }

    /// Whom the outside server takes `from` for, if it answers.
    fn seen_as(&self, from: &str, address: &str) -> Option<String> {
        let answer = self.on.in_guest(from, &outside::question(address));
        answer.rsplit_once("you are ").map(|(_, asker)| asker.trim().to_owned())
    }

    fn reach_each_other_inside_a_network(&self) {
        step("reach each other inside a network");
        for to in [self.addresses["red2"].as_str(), "red2", "red2.red.internal"] {
            let answer = self.ping("red1", to);
            assert!(answer.worked, "red1 reaches {to}:\n{}", answer.all);
        }
        assert!(self.ping("red2", "red1").worked);
        assert_eq!(self.on.in_guest("red1", "hostname").trim(), "red1");
    }

    fn do_not_reach_another_network(&self) {
        step("do not reach another network");
        let blue = self.addresses["blue1"].as_str();
        let router_of_blue = format!("{}.1", blue.rsplit_once('.').unwrap().0);
        for to in [blue, "blue1", "blue1.blue.internal", &router_of_blue] {
            assert!(!self.ping("red1", to).worked, "red1 must not reach {to}");
        }
        let ssh = self.on.ssh("red1", &format!("nc -w 3 {blue} 22 </dev/null"));
        assert!(!ssh.all.contains("SSH-"), "red1 must not reach blue1's SSH:\n{}", ssh.all);
        let control = self.on.ssh("red1", &format!("nc -w 3 {} 22 </dev/null", self.addresses["red2"]));
        assert!(control.all.contains("SSH-"), "the same way red2's SSH is reached:\n{}", control.all);
        assert!(!self.ping("blue1", &self.addresses["red1"]).worked);
    }

    fn reach_the_internet_and_no_private_address(&self) {
        step("reach the internet through NAT, and no private address");
        for from in ["red1", "blue1"] {
            assert_eq!(
                self.seen_as(from, outside::PUBLIC).as_deref(),
                Some(outside::MACHINE),
                "{from} goes out by NAT"
            );
        }
        let control = machine::run("sh", &["-c", &outside::question(outside::PRIVATE).replace("nc ", "busybox nc ")]);
        assert!(control.contains("you are"), "the machine itself does reach the private address: {control}");
        assert_eq!(self.seen_as("red1", outside::PRIVATE), None, "red1 must not reach a private address outside");
    }

    fn let_a_peer_into_its_networks_only(&self) {
        step("let a peer into its networks only");
        let laptop = Laptop::enter(self.on, "laptop", "red");
        let (red, blue) = (self.addresses["red1"].as_str(), self.addresses["blue1"].as_str());
        wait_for("the laptop reaches red1", || laptop.reaches(red).then_some(()));
        assert!(!laptop.reaches(blue), "the laptop must not reach blue1");
        self.on.ctl(&["peer", "delete", "laptop", "--yes", "--wait"]);
        assert!(!laptop.reaches(red), "the laptop must not reach red1 when its peer is gone");
    }

    fn survive_the_death_of_every_program(&self) {
        step("survive the death of every program");
        let uptime = |instance| -> f64 {
            let text =
                wait_for("the guest answers", || Some(self.on.ssh(instance, "cat /proc/uptime")).filter(|a| a.worked));
            text.said.split(' ').next().unwrap().parse().unwrap()
        };
        let mut before = uptime("red1");
        for (name, pid) in self.on.processes() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            wait_for(&format!("{name} comes back"), || {
                let again = self.on.processes()[&name];
                (again != pid && fs::exists(format!("/proc/{again}")).unwrap()).then_some(())
            });
            self.works_again(&name);
            let after = uptime("red1");
            assert!(after > before, "the guest ran on while {name} was killed");
            before = after;
        }
    }

    /// After a program came back, what was there is there and what is asked for is done.
    fn works_again(&self, killed: &str) {
        wait_for(&format!("the agents are connected after {killed} was killed"), || {
            let agents = self.on.try_ctl(&["agent", "list", "-o", "json"]);
            let agents: serde_json::Value = serde_json::from_str(&agents.said).ok()?;
            let list = agents.as_array().or_else(|| agents["items"].as_array())?;
            (list.len() == 2 && list.iter().all(|agent| agent["connected"] == true)).then_some(())
        });
        let name = format!("after-{killed}");
        self.on.ctl(&["network", "create", &name, "--wait"]);
        self.on.ctl(&["network", "delete", &name, "--yes", "--wait"]);
        wait_for(&format!("red1 reaches the internet after {killed} was killed"), || {
            self.seen_as("red1", outside::PUBLIC).map(drop)
        });
    }

    fn delete_everything(self) {
        step("delete everything");
        for (instance, _) in INSTANCES {
            self.on.ctl(&["instance", "delete", instance, "--yes", "--wait"]);
        }
        for peer in self.on.json(&["peer", "list"]).as_array().unwrap() {
            self.on.ctl(&["peer", "delete", peer["name"].as_str().unwrap(), "--yes", "--wait"]);
        }
        self.on.ctl(&["image", "delete", "tiny", "--yes", "--wait"]);
        for network in ["red", "blue"] {
            self.on.ctl(&["network", "delete", network, "--yes", "--wait"]);
        }
    }
}

fn step(what: &str) {
    println!("==> {what}");
}

/// All files of the router's configuration.
fn router_configuration(on: &Installation) -> BTreeMap<PathBuf, String> {
    let folder = on.data().join("rhyzome-router/config");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = files.map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}
