//! A Debian guest with cloud-init, from building its image to a shell in it.

use std::fs;
use std::time::Duration;

use e2e::installation::Installation;
use e2e::{image, machine, outside};

/// A minute on a machine that has nothing else to do; many on one that has.
const BOOT: Duration = Duration::from_secs(1200);

const USER_DATA: &str = "#cloud-config
write_files:
  - path: /etc/motto
    content: |
      as asked
runcmd:
  - [sh, -c, 'echo ran >>/etc/motto']
";

#[test]
fn a_debian_guest_becomes_what_it_was_asked_to_be() {
    let image = image::debian();
    machine::on_own_machine("debian::a_debian_guest_becomes_what_it_was_asked_to_be", || {
        outside::build();
        let before = machine::inventory();
        let on = Installation::new();
        on.up();
        let (user_data, key) = (on.data().join("user-data"), on.data().join("key"));
        fs::write(&user_data, USER_DATA).unwrap();
        machine::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "anna", "-f", key.to_str().unwrap()]);
        on.ctl(&["network", "create", "home", "--wait"]);
        on.ctl(&["image", "import", "debian", image.to_str().unwrap(), "--wait"]);
        on.ctl(&[
            "instance",
            "create",
            "web",
            "--network",
            "home",
            "--image",
            "debian",
            "--memory",
            "1G",
            "--disk",
            "6G",
            "--user-data",
            user_data.to_str().unwrap(),
            "--ssh-key",
            key.with_extension("pub").to_str().unwrap(),
        ]);

        let web = on.booted_within("web", BOOT);
        let address = web["status"]["address"].as_str().unwrap();
        assert_eq!(web["status"]["guest"]["address"], address);
        assert_eq!(web["status"]["guest"]["hostname"], "web");
        println!("==> up {} s after its kernel started", web["status"]["guest"]["uptime_seconds"]);
        guest_is_as_asked(&on, address);

        on.ctl(&["instance", "delete", "web", "--yes", "--wait"]);
        on.ctl(&["image", "delete", "debian", "--yes", "--wait"]);
        let left = fs::read_dir(on.data().join("core/images")).unwrap().count();
        assert_eq!(left, 0, "the image's file is freed");
        on.down();
        machine::assert_as_before(&before);
    });
}

/// Looks at the guest over `rhyzomectl ssh`, which lets nobody in whose host key is not the instance's.
fn guest_is_as_asked(on: &Installation, address: &str) {
    let state = on.in_guest("web", "cloud-init status --wait --long; systemctl --failed --no-legend");
    assert!(state.contains("status: done") && !state.contains("failed"), "{state}");
    assert_eq!(on.in_guest("web", "cat /etc/motto"), "as asked\nran\n");
    assert_eq!(on.in_guest("web", "hostname --fqdn").trim(), "web.home.internal");
    let keys = on.in_guest("web", "cat /root/.ssh/authorized_keys");
    assert!(keys.contains(" anna"), "{keys}");
    let host_keys = on.in_guest("web", "ls /etc/ssh/ssh_host_*_key");
    assert_eq!(host_keys.trim(), "/etc/ssh/ssh_host_ed25519_key", "no other key than the instance's");
    assert_eq!(on.in_guest("debian@web", "id -un; sudo id -un"), "debian\nroot\n");
    let gibibytes = on.in_guest("web", "df --block-size 1G --output=size / | tail -n 1");
    assert_eq!(gibibytes.trim(), "6", "the system has grown into its disk");
    let router = format!("{}.1", address.rsplit_once('.').unwrap().0);
    let servers = on.in_guest("web", "resolvectl dns");
    assert!(servers.contains(&router), "the network's name server is asked: {servers}");
    let seen = on.in_guest(
        "web",
        &format!("exec 3<>/dev/tcp/{}/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3", outside::PUBLIC),
    );
    assert!(seen.contains(&format!("you are {}", outside::MACHINE)), "{seen}");
}
