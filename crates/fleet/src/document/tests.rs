use super::*;

fn parse(path: &str, text: &str) -> Result<Option<Document>, DocumentError> {
    Document::parse(&path.parse().unwrap(), text.as_bytes())
}

fn refusal(path: &str, text: &str) -> String {
    parse(path, text).unwrap_err().to_string()
}

#[test]
fn bad_input_names_section_line_and_option() {
    for (path, text, expected) in [
        (
            "groups/ap/config/wireless",
            "config wifi-iface 'guest'\n\toption ssid 'x'\n\toption dusk_selekt 'a'\n",
            "groups/ap/config/wireless, line 3, section guest, option dusk_selekt: is not known here",
        ),
        ("groups/ap/config/wireless", "config wifi-iface 'a\n", "line 1: column"),
        ("groups/ap/config/network", "config interface lan\n\toption dusk_select 'x=y'\n", "line 2, section lan"),
        ("groups/ap/config/network", "config interface\n\n\toption dusk_select 'x'\n", "line 3, section interface"),
        (
            "groups/ap/config/network",
            "config interface lan\n\tlist dusk_unset 'mtu'\n\toption mtu 1\n",
            "line 2, section lan, option dusk_unset: mtu is set and taken away",
        ),
        (
            "groups/ap/config/firewall",
            "config zone\n\toption name lan\nconfig zone\n\toption name 'lan'\n",
            "line 3, section zone: is the same section as that of line 1",
        ),
        ("groups/ap/files/motd", "config file\n\toption path 'etc/x'\n", "line 2, section file, option path"),
        ("groups/ap/files/motd", "config file\n\toption path '/etc/config/x'\n", "expected a section config/<package>"),
        ("groups/ap/files/motd", "config file\n\toption path '/etc/../x'\n", "option path"),
        (
            "groups/ap/files",
            "config file\n\toption path /etc/x\n\toption mode 999\n",
            "line 3, section file, option mode",
        ),
        ("groups/ap/keys", "config key\n\toption key 'ssh-ed25519 AAA'\n", "line 2, section key, option key"),
        ("groups/ap/passwords", "config password\n\toption hash 'hunter2'\n", "line 2, section password, option hash"),
        ("groups/ap/cron", "config job\n\toption schedule '* * *'\n\toption command x\n", "option schedule"),
        ("groups/ap/packages", "config packages\n\tlist wanted '-x'\n", "option wanted"),
        ("groups/ap/actions/now", "config action\n\toption do 'dance'\n", "expected reboot, log or command"),
        (
            "groups/ap/variables",
            "config variables\n\toption a 1\nconfig secrets\n\toption a 2\n",
            "line 4, section secrets",
        ),
        ("policies/all/policy", "config apply\n\toption deadline 5\n", "line 2, section apply, option deadline: 5"),
        ("policies/all/policy", "config drift\n\toption mode x\n", "expected report, revert or adopt"),
        ("policies/all/policy", "config probe\n\toption kind ping\n\toption target '-f'\n", "option target"),
        ("policies/all/policy", "config polizei\n", "expected policy, apply, drift, probe or hook"),
    ] {
        let said = refusal(path, text);
        assert!(said.contains(expected), "{path}: {said}");
    }
    let hash = refusal("groups/ap/passwords", "config password\n\toption hash 'hunter2'\n");
    assert!(!hash.contains("hunter2"), "{hash}");
}

#[test]
fn bytes_that_are_no_text_and_too_many_bytes_are_refused() {
    let path = "groups/ap/config/network".parse().unwrap();
    let said = Document::parse(&path, b"config interface\n\toption x '\xff'\n").unwrap_err().to_string();
    assert!(said.contains("line 2") && said.contains("UTF-8"), "{said}");
    let said = Document::parse(&path, &vec![b'#'; LONGEST + 1]).unwrap_err().to_string();
    assert!(said.contains("expected 262144 at most"), "{said}");
}

#[test]
fn what_is_no_configuration_is_left_to_others() {
    for path in ["users/ana/keys", "groups/ap/group", "devices/00000000000000000000/record"] {
        assert_eq!(parse(path, "\u{1} anything"), Ok(None), "{path}");
    }
}

#[test]
fn what_runs_code_is_found_wherever_it_stands() {
    for (path, text, runs) in [
        ("groups/ap/config/dhcp", "config dnsmasq\n\toption dhcpscript /x\n", true),
        ("groups/ap/config/dhcp", "config dnsmasq\n\toption domain lan\n", false),
        ("groups/ap/config/dhcp", "config dnsmasq\n\tlist dusk_unset dhcpscript\n", false),
        ("groups/ap/config/firewall", "config include\n\toption path /x\n", true),
        ("groups/ap/template/firewall", "config include x\n\toption path /x\n", true),
        ("groups/ap/config/uhttpd", "config uhttpd main\n\toption home /www\n", true),
        ("groups/ap/config/network", "config interface lan\n\toption ipaddr 10.0.0.1\n", false),
        ("groups/ap/cron", "config job\n\toption schedule '* * * * *'\n\toption command x\n", true),
        ("groups/ap/actions/a", "config action\n\toption do command\n\toption command x\n", true),
        ("groups/ap/actions/a", "config action\n\toption do reboot\n", false),
        ("groups/ap/files", "config file\n\toption path /etc/rc.local\n\toption content x\n", true),
        ("groups/ap/files", "config file\n\toption path /etc/banner\n\toption content x\n", false),
        ("groups/ap/files", "config file\n\toption path /etc/banner\n\toption mode 0755\n", true),
        ("policies/all/policy", "config hook\n\toption when before\n\toption command x\n", true),
        ("policies/all/policy", "config probe\n\toption kind command\n\toption command x\n", true),
        ("policies/all/policy", "config probe\n\toption kind ping\n\toption target ::1\n", false),
    ] {
        let document = parse(path, text).unwrap().unwrap();
        assert_eq!(!document.runs_code().is_empty(), runs, "{path}: {text}");
    }
}

#[test]
fn hostile_bytes_are_refused_or_read_and_nothing_else() {
    let corpus = fuzz::Corpus::of(
        [
            "config interface 'lan'\n\toption proto 'static'\n\tlist dns '1.1.1.1'\n\tlist dusk_unset 'mtu'\n",
            "config zone\n\toption dusk_select 'a=b,index=-1'\n\toption dusk_template 't'\n",
            "config file\n\toption path '/etc/x'\n\toption mode '0600'\n\toption base64 'AAAA'\n",
            "config probe 'x'\n\toption kind 'tcp'\n\toption target 'a'\n\toption port '1'\n",
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    let rests = "config/network template/network files keys passwords cron packages variables policy actions/a";
    let paths = rests.split(' ').map(|rest| format!("groups/ap/{rest}").parse::<SectionPath>().unwrap());
    let paths: Vec<_> = paths.collect();
    corpus.run(|bytes| {
        for path in &paths {
            let _ = Document::parse(path, bytes);
        }
    });
}
