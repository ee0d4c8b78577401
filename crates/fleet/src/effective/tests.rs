use uci::{Package, PackageName};

use super::*;
use crate::address::OptionAddress;
use crate::difference::difference;
use crate::explain::explain;
use crate::facts::Facts;
use crate::layer::Execute;
use crate::plan::plan;
use crate::sealed::NoSecrets;

/// A device in groups `all` and `ap`.
pub(crate) fn member() -> Member {
    let ports = [("lan", vec!["lan1", "lan2"]), ("wan", vec!["eth1"])];
    let ports = ports.map(|(role, ports)| (role.to_owned(), ports.into_iter().map(str::to_owned).collect()));
    Member {
        id: "00112233445566778899".parse().unwrap(),
        name: "attic".parse().unwrap(),
        groups: vec!["all".parse().unwrap(), "ap".parse().unwrap()],
        facts: Facts { board: "acme,ap1".to_owned(), ports: ports.into(), ..Facts::default() },
    }
}

pub(crate) fn placed(path: &str, text: &str) -> Placed {
    let origin = Origin { section: path.parse().unwrap(), signer: "ana".to_owned() };
    Placed::read(origin, text.as_bytes(), Execute::Signed).unwrap().unwrap()
}

pub(crate) fn config(packages: &[(&str, &str)]) -> Config {
    let parse = |(name, text): &(&str, &str)| Package::parse(PackageName::new(*name).unwrap(), text).unwrap();
    packages.iter().map(parse).collect()
}

const WIRELESS: &str = "
config wifi-device 'radio0'
	option path 'platform/a'
	option channel '36'
	option band '5g'

config wifi-device 'radio1'
	option path 'platform/b'
	option channel '1'
	option band '2g'
";

const FIREWALL: &str = "
config defaults
	option input 'REJECT'

config zone
	option name 'lan'
	list network 'lan'

config zone
	option name 'wan'
	option masq '1'
";

fn effective(sections: &[Placed], current: &Config) -> Effective {
    let (member, ground) = (member(), Ground::default());
    Effective::of(Input { member: &member, sections, unreadable: &[], current, ground: &ground, opener: &NoSecrets })
}

fn after(sections: &[Placed], current: &Config) -> Config {
    let effective = effective(sections, current);
    assert_eq!(effective.rejected, []);
    plan(&effective, current, &Ground::default()).unwrap().target
}

#[test]
fn policies_come_first_then_groups_in_order_then_the_device() {
    let option = |path: &str, value: &str| {
        placed(&format!("{path}/config/system"), &format!("config system\n\toption hostname '{value}'\n"))
    };
    let sections = [
        option("devices/00112233445566778899", "device"),
        option("devices/ffffffffffffffffffff", "other device"),
        option("groups/ap", "ap"),
        option("groups/all", "all"),
        option("groups/cellar", "not ours"),
        option("policies/zeal", "low"),
        option("policies/base", "high"),
        placed("policies/base/policy", "config policy\n\toption priority '7'\n"),
        option("policies/others", "others"),
        placed("policies/others/policy", "config policy\n\tlist group 'cellar'\n"),
    ];
    let current = config(&[("system", "config system\n\toption hostname 'OpenWrt'\n")]);
    let effective = effective(&sections, &current);
    let address: OptionAddress = "system.@system[0].hostname".parse().unwrap();
    let told = explain(&address, &effective, &current);
    assert_eq!(told.len(), 1);
    let said: Vec<_> = told[0].said.iter().map(|setting| setting.value.as_ref().unwrap().as_str().unwrap()).collect();
    assert_eq!(said, ["device", "ap", "all", "high", "low"]);
    let text = told[0].to_string();
    assert!(text.contains("set to \"device\" by devices/00112233445566778899/config/system, signed by ana"), "{text}");
    assert!(text.contains("overruled: set to \"low\" by policies/zeal/config/system"), "{text}");
}

#[test]
fn radios_are_found_by_band_and_the_rest_of_them_stays() {
    let wish = placed(
        "groups/ap/config/wireless",
        "config wifi-device\n\toption dusk_select 'band=2g'\n\toption channel '6'\n",
    );
    let current = config(&[("wireless", WIRELESS)]);
    let target = after(&[wish], &current);
    let radio = target.get("wireless").unwrap().section("radio1").unwrap();
    assert_eq!((radio.text("channel"), radio.text("path")), (Some("6"), Some("platform/b")));
    assert_eq!(target.get("wireless").unwrap().section("radio0"), current.get("wireless").unwrap().section("radio0"));
}

#[test]
fn what_this_hardware_lacks_is_left_out_with_a_note() {
    let wish = placed(
        "groups/ap/config/wireless",
        "config wifi-device\n\toption dusk_select 'band=6g'\n\toption channel '1'\n\
         config wifi-iface 'six'\n\toption device '@radio[band=6g]'\n\
         config wifi-iface 'five'\n\toption device '@radio[band=5g]'\n",
    );
    let current = config(&[("wireless", WIRELESS)]);
    let effective = effective(&[wish], &current);
    assert_eq!(effective.notes.len(), 2, "{:?}", effective.notes);
    let target = plan(&effective, &current, &Ground::default()).unwrap().target;
    let wireless = target.get("wireless").unwrap();
    assert_eq!(wireless.len(), 3);
    assert_eq!(wireless.section("five").unwrap().text("device"), Some("radio0"));
}

#[test]
fn ports_are_put_in_by_role() {
    let wish = placed(
        "groups/all/config/network",
        "config device 'bridge'\n\toption name 'br-lan'\n\tlist ports '@port[role=lan]'\n\tlist ports 'extra'\n\
         config interface 'wan'\n\toption device '@port[role=wan]'\n",
    );
    let target = after(&[wish], &config(&[("network", "")]));
    let network = target.get("network").unwrap();
    assert_eq!(network.section("bridge").unwrap().get("ports"), Some(&Value::from(["lan1", "lan2", "extra"])));
    assert_eq!(network.section("wan").unwrap().text("device"), Some("eth1"));
}

#[test]
fn sections_without_a_name_are_found_by_what_tells_them_apart_and_get_a_name() {
    let wish = placed(
        "groups/all/config/firewall",
        "config zone\n\toption name 'lan'\n\toption input 'ACCEPT'\nconfig rule\n\toption name 'ping'\n\toption src 'wan'\n",
    );
    let current = config(&[("firewall", FIREWALL)]);
    let target = after(std::slice::from_ref(&wish), &current);
    let firewall = target.get("firewall").unwrap();
    let zone = firewall.section("zone_lan").unwrap();
    assert_eq!((zone.text("input"), zone.get("network")), (Some("ACCEPT"), Some(&Value::from(["lan"]))));
    assert_eq!(firewall.section("rule_ping").unwrap().text("src"), Some("wan"));
    assert_eq!(firewall.len(), 4);
    // With names, all is found again, and nothing is left to do.
    assert_eq!(after(&[wish], &target), target);
}

#[test]
fn a_section_is_found_again_after_what_it_was_found_by_has_changed() {
    let wish = |ssid: &str| {
        let text = format!("config wifi-iface\n\toption dusk_select 'ssid=OpenWrt'\n\toption ssid '{ssid}'\n");
        placed("groups/all/config/wireless", &text)
    };
    let mut current = config(&[("wireless", "config wifi-iface\n\toption ssid 'OpenWrt'\n\toption mode 'ap'\n")]);
    let (member, mut ground) = (member(), Ground::default());
    for ssid in ["barn", "yard", "OpenWrt"] {
        let sections = [wish(ssid)];
        let input = Input {
            member: &member,
            sections: &sections,
            unreadable: &[],
            current: &current,
            ground: &ground,
            opener: &NoSecrets,
        };
        let plan = plan(&Effective::of(input), &current, &ground).unwrap();
        (current, ground) = (plan.target, plan.ground);
        let wireless = current.get("wireless").unwrap();
        assert_eq!(wireless.len(), 1, "{ssid}");
        assert_eq!(wireless.sections().next().unwrap().text("ssid"), Some(ssid));
    }
}

#[test]
fn templates_and_variables_are_put_in_and_secrets_stay_covered() {
    let sections = [
        placed(
            "groups/all/variables",
            "config variables\n\toption site 'farm'\n\tlist dns '9.9.9.9'\n\tlist dns '1.1.1.1'\nconfig secrets\n\toption pass 'swordfish'\n",
        ),
        placed("groups/ap/variables", "config variables\n\toption site 'barn'\n"),
        placed(
            "groups/all/template/wireless",
            "config wifi-iface 'guest'\n\toption ssid '${site}-guest'\n\toption words '${pass}'\n\toption mode 'ap'\n",
        ),
        placed(
            "groups/ap/config/wireless",
            "config wifi-iface 'g'\n\toption dusk_template 'guest'\n\toption mode 'mesh'\n\toption note '$${site} at ${device_name}'\n",
        ),
        placed("groups/ap/config/network", "config interface 'lan'\n\tlist dns '${dns}'\n"),
    ];
    let current = config(&[("wireless", ""), ("network", "")]);
    let effective = effective(&sections, &current);
    assert_eq!(effective.rejected, []);
    let target = plan(&effective, &current, &Ground::default()).unwrap().target;
    let iface = target.get("wireless").unwrap().section("g").unwrap();
    assert_eq!((iface.text("ssid"), iface.text("mode")), (Some("barn-guest"), Some("mesh")));
    assert_eq!((iface.text("words"), iface.text("note")), (Some("swordfish"), Some("${site} at attic")));
    let lan = target.get("network").unwrap().section("lan").unwrap();
    assert_eq!(lan.get("dns"), Some(&Value::from(["9.9.9.9", "1.1.1.1"])));
    let shown = format!("{:?}", difference(&current, &target, &[&effective]));
    assert!(shown.contains("wireless.g.words=••••••") && !shown.contains("swordfish"), "{shown}");
}

#[test]
fn one_bad_section_stops_what_it_is_about_and_nothing_else() {
    let sections = [
        placed("groups/all/config/network", "config interface 'lan'\n\toption mtu '1400'\n"),
        placed("groups/ap/config/network", "config interface 'lan'\n\n\toption mtu '${none}'\n"),
        placed("groups/ap/config/system", "config system\n\toption hostname 'x'\n"),
    ];
    let current =
        config(&[("network", "config interface 'lan'\n\toption mtu '1500'\n"), ("system", "config system\n")]);
    let effective = effective(&sections, &current);
    let said = effective.rejected[0].to_string();
    assert!(
        said.starts_with(
            "groups/ap/config/network, line 3, section lan, option mtu: no section sets the variable none"
        ),
        "{said}"
    );
    let plan = plan(&effective, &current, &Ground::default()).unwrap();
    assert_eq!(plan.target.get("network"), current.get("network"));
    assert_eq!(plan.target.get("system").unwrap().section("system").unwrap().text("hostname"), Some("x"));
}

#[test]
fn a_type_cannot_be_had_under_another_name() {
    let current = config(&[("firewall", "config include 'custom'\n\toption path '/x'\n")]);
    let wish = placed("groups/all/config/firewall", "config rule 'custom'\n\toption path '/evil'\n");
    let said = effective(&[wish], &current).rejected[0].to_string();
    assert!(said.contains("is a rule here, but a include on the device"), "{said}");
    let sections = [
        placed("groups/all/config/firewall", "config include 'new'\n\toption path '/x'\n"),
        placed("groups/ap/config/firewall", "config rule 'new'\n\toption path '/evil'\n"),
    ];
    let said = effective(&sections, &current).rejected[0].to_string();
    assert!(said.contains("another section has it as a include"), "{said}");
}

#[test]
fn code_takes_no_variables() {
    let sections = [
        placed("groups/all/variables", "config variables\n\toption x '/evil'\n"),
        placed("groups/all/config/dhcp", "config dnsmasq\n\toption dhcpscript '${x}'\n"),
    ];
    let said = effective(&sections, &config(&[("dhcp", "")])).rejected[0].to_string();
    assert!(said.contains("option dhcpscript") && said.contains("without variables"), "{said}");
}

#[test]
fn sealed_texts_are_opened_stay_covered_and_stop_what_cannot_open_them() {
    let sections = [
        placed("groups/ap/variables", "config secrets\n\toption pass 'sealed:ap:1:abc'\n"),
        placed(
            "groups/ap/config/wireless",
            "config wifi-iface 'g'\n\toption words '${pass}'\n\toption note 'sealed:ap:1:def'\n",
        ),
        placed("groups/ap/passwords", "config password\n\toption hash 'sealed:ap:1:hash'\n"),
        placed("groups/ap/config/system", "config system\n\toption hostname 'x'\n"),
    ];
    let (member, current, ground) =
        (member(), config(&[("wireless", ""), ("system", "config system\n")]), Ground::default());
    let opener = |text: &str| Ok(text.replace("sealed:ap:1:", "open "));
    let input = Input {
        member: &member,
        sections: &sections,
        unreadable: &[],
        current: &current,
        ground: &ground,
        opener: &opener,
    };
    let opened = Effective::of(input);
    assert_eq!(opened.rejected, []);
    assert_eq!(opened.passwords["root"].wanted.hash, "open hash");
    let target = plan(&opened, &current, &ground).unwrap().target;
    let iface = target.get("wireless").unwrap().section("g").unwrap();
    assert_eq!((iface.text("words"), iface.text("note")), (Some("open abc"), Some("open def")));
    let shown = format!("{:?}", difference(&current, &target, &[&opened]));
    assert!(!shown.contains("open"), "{shown}");
    let closed = Effective::of(Input { opener: &NoSecrets, ..input });
    let told: Vec<String> = closed.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|told| told.contains("not trusted with secrets")), "{told:?}");
    let target = plan(&closed, &current, &ground).unwrap().target;
    assert!(target.get("wireless").unwrap().is_empty());
    assert_eq!(target.get("system").unwrap().section("system").unwrap().text("hostname"), Some("x"));
}

#[test]
fn what_runs_code_without_having_said_so_is_refused() {
    let origin = Origin { section: "groups/ap/config/dhcp".parse().unwrap(), signer: "eve".to_owned() };
    let content = b"config dnsmasq\n\toption dhcpscript '/evil'\n";
    let said = Placed::read(origin.clone(), content, Execute::NotSigned).unwrap_err().to_string();
    assert!(said.starts_with("groups/ap/config/dhcp, line 2, section dnsmasq, option dhcpscript: dhcp."), "{said}");
    assert!(Placed::read(origin, content, Execute::Signed).is_ok());
}
