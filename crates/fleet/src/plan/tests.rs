use proptest::prelude::*;

use super::*;
use crate::drift::{self, drift};
use crate::edit;
use crate::effective::Input;
use crate::effective::tests::{config, member, placed};
use crate::import::import;
use crate::layer::Placed;
use crate::sealed::NoSecrets;

fn effective(sections: &[Placed], current: &Config, ground: &Ground) -> Effective {
    let member = member();
    Effective::of(Input { member: &member, sections, unreadable: &[], current, ground, opener: &NoSecrets })
}

/// Takes a device there, and holds every step against what must be true of all.
fn go(sections: &[Placed], current: &Config, ground: &Ground) -> Plan {
    let wish = effective(sections, current, ground);
    let plan = plan(&wish, current, ground).unwrap();
    let mut carried_out = current.clone();
    for missing in &plan.missing {
        carried_out.insert(Package::new(missing.clone()));
    }
    for change in &plan.changes {
        let package = carried_out.get_mut(change.config.as_str()).unwrap();
        uci::apply(package, std::slice::from_ref(change)).unwrap();
    }
    for package in plan.target.packages() {
        assert_eq!(carried_out.get(package.name().as_str()), Some(package), "the calls lead to the target");
    }
    nothing_unmanaged_is_touched(&wish, current, &plan.target, ground);
    assert_eq!(Ground::parse(&plan.ground.print()), Ok(plan.ground.clone()));
    plan
}

fn nothing_unmanaged_is_touched(effective: &Effective, current: &Config, target: &Config, ground: &Ground) {
    for package in current.packages() {
        for section in package.sections() {
            let managed = effective.sections.iter().find(|((of, name), wanted)| {
                of == package.name() && (name == section.name() || wanted.found_as.as_ref() == Some(section.name()))
            });
            let is_ground = ground.sections.contains_key(&(package.name().clone(), section.name().clone()));
            let after = target.get(package.name().as_str()).unwrap();
            match managed {
                None if is_ground => {}
                None => assert_eq!(after.section(section.name().as_str()), Some(section)),
                Some((_, wanted)) if wanted.deleted_by.is_some() || wanted.is_whole || is_ground => {}
                Some(((_, name), wanted)) => {
                    let after = after.section(name.as_str()).unwrap();
                    for (option, value) in
                        section.options().filter(|(option, _)| !wanted.settings.contains_key(*option))
                    {
                        assert_eq!(after.get(option.as_str()), Some(value), "{name}.{option}");
                    }
                }
            }
        }
    }
}

/// Sections as they are, by content: those that got a name keep it.
fn contents(config: &Config) -> Vec<String> {
    let mut contents: Vec<String> = Vec::new();
    for package in config.packages() {
        for section in package.sections() {
            let options: BTreeMap<_, _> = section.options().collect();
            contents.push(format!("{} {} {options:?}", package.name(), section.kind()));
        }
    }
    contents.sort();
    contents
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,2}".prop_map(|text| format!("option x '{text}'")),
        "[a-c]{1,2}".prop_map(|text| format!("list y '{text}'"))
    ]
}

fn options() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![value(), "[a-c]".prop_map(|text| format!("option z '{text} \"$ # é'"))], 0..4)
        .prop_map(|lines| lines.iter().map(|line| format!("\t{line}\n")).collect())
}

/// A device's package: named and unnamed sections.
fn device() -> impl Strategy<Value = Config> {
    let named = prop::collection::btree_map("[a-d]", options(), 0..4).prop_map(|sections| {
        sections.iter().map(|(name, options)| format!("config thing '{name}'\n{options}")).collect::<String>()
    });
    let zones = prop::collection::btree_set("[e-g]", 0..3).prop_map(|names| {
        names.iter().map(|name| format!("config zone\n\toption name '{name}'\n\toption q '1'\n")).collect::<String>()
    });
    let rules = prop::collection::vec(options(), 0..3)
        .prop_map(|rules| rules.iter().map(|options| format!("config rule\n{options}")).collect::<String>());
    (zones, named, rules).prop_map(|(zones, named, rules)| config(&[("firewall", &format!("{zones}{named}{rules}"))]))
}

fn extent() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just("\toption dusk_whole '1'\n"), 2 => Just("\tlist dusk_unset 'u'\n\tlist dusk_unset 'q'\n")]
}

fn wish() -> impl Strategy<Value = String> {
    let thing =
        ("[a-d]", options(), extent(), prop::bool::weighted(0.2)).prop_map(|(name, options, extent, delete)| {
            match delete {
                true => (name.clone(), format!("config thing '{name}'\n\toption dusk_delete '1'\n")),
                false => (name.clone(), format!("config thing '{name}'\n{options}{extent}")),
            }
        });
    let zone = ("[e-h]", options(), extent()).prop_map(|(name, options, extent)| {
        (format!("zone {name}"), format!("config zone\n\toption name '{name}'\n{options}{extent}"))
    });
    prop::collection::vec(prop_oneof![thing, zone], 0..5)
        .prop_map(|sections| sections.into_iter().collect::<BTreeMap<_, _>>().into_values().collect())
}

fn layers() -> impl Strategy<Value = Vec<Placed>> {
    let scopes = ["policies/base", "groups/all", "groups/ap", "devices/00112233445566778899"];
    let layers = scopes
        .map(|scope| prop::option::of(wish().prop_map(move |text| placed(&format!("{scope}/config/firewall"), &text))));
    layers.prop_map(|layers| layers.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn effective_depends_on_nothing_but_its_input(device in device(), mut sections in layers()) {
        let ground = Ground::default();
        let first = effective(&sections, &device, &ground);
        sections.reverse();
        prop_assert_eq!(first, effective(&sections, &device, &ground));
    }

    #[test]
    fn what_was_applied_has_nothing_left_to_do(device in device(), sections in layers()) {
        let there = go(&sections, &device, &Ground::default());
        let again = go(&sections, &there.target, &there.ground);
        prop_assert_eq!(again.changes, vec![]);
        prop_assert_eq!(&again.ground, &there.ground);
        let wish = effective(&sections, &there.target, &there.ground);
        prop_assert_eq!(drift(&wish, &there.target), vec![]);
    }

    #[test]
    fn what_is_withdrawn_leaves_a_device_as_it_was(device in device(), first in layers(), second in layers()) {
        let there = go(&first, &device, &Ground::default());
        let there = go(&second, &there.target, &there.ground);
        let back = go(&[], &there.target, &there.ground);
        prop_assert_eq!(contents(&back.target), contents(&device));
        prop_assert_eq!(back.ground, Ground::default());
    }

    #[test]
    fn the_way_there_does_not_count(device in device(), first in layers(), second in layers()) {
        let direct = go(&second, &device, &Ground::default());
        let there = go(&first, &device, &Ground::default());
        let around = go(&second, &there.target, &there.ground);
        prop_assert_eq!(contents(&around.target), contents(&direct.target));
    }

    #[test]
    fn what_was_imported_asks_for_what_is_there(device in device()) {
        let (member, ground) = (member(), Ground::default());
        let scope = crate::Scope::Device(member.id);
        let imported = import(&scope, &device, &member.facts, |_| true);
        let sections: Vec<_> =
            imported.contents.iter().map(|(path, text)| placed(path.as_str(), text)).collect();
        let wish = effective(&sections, &device, &ground);
        prop_assert_eq!(&wish.rejected, &vec![]);
        let there = go(&sections, &device, &ground);
        prop_assert_eq!(contents(&there.target), contents(&device));
    }
}

#[test]
fn drift_is_told_brought_back_or_offered() {
    let sections =
        [placed("groups/ap/config/network", "config interface 'lan'\n\toption mtu '1400'\n\toption ifname 'x'\n")];
    let device = config(&[("network", "config interface 'lan'\n\toption mtu '1500'\n")]);
    let there = go(&sections, &device, &Ground::default());
    let found = config(&[("network", "config interface 'lan'\n\toption mtu '1280'\n")]);
    let wish = effective(&sections, &found, &there.ground);
    let drifts = drift(&wish, &found);
    let told: Vec<String> = drifts.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "network.lan.ifname is nothing, asked for is \"x\" (groups/ap/config/network, signed by ana)",
            "network.lan.mtu is \"1280\", asked for is \"1400\" (groups/ap/config/network, signed by ana)",
        ]
    );
    let back = go(&sections, &found, &there.ground);
    assert_eq!(back.target, there.target);
    let id = member().id;
    let answer = drift::answer(crate::document::DriftMode::Adopt, &id, &drifts, &wish, |_| None);
    let drift::Answer::Adopt(offered) = answer else { panic!("{answer:?}") };
    let adopted: Vec<_> = offered.iter().map(|(path, text)| placed(path.as_str(), text)).collect();
    let with: Vec<_> = sections.into_iter().chain(adopted).collect();
    assert_eq!(drift(&effective(&with, &found, &there.ground), &found), []);
}

#[test]
fn set_keeps_comments_and_finds_what_it_set_before() {
    let package = PackageName::new("wireless").unwrap();
    let set = |content: &str, assignments: &[&str]| {
        let assignments: Vec<_> = assignments.iter().map(|text| text.parse().unwrap()).collect();
        edit::set(&package, content, &assignments, |_| None)
    };
    let content = "# ours\nconfig wifi-device # the old one\n\toption dusk_select 'band=5g'\n\toption channel '36'\n";
    let content = set(content, &["wireless.@radio[band=2g].channel=6", "wireless.@radio[band=5g].channel=40"]).unwrap();
    assert!(
        content.starts_with(
            "# ours\nconfig wifi-device # the old one\n\toption dusk_select 'band=5g'\n\toption channel '40'\n"
        ),
        "{content}"
    );
    let content = set(&content, &["wireless.@radio[band=2g].channel=11", "wireless.@radio[band=2g].htmode="]).unwrap();
    assert_eq!(content.matches("band=2g").count(), 1);
    assert!(content.contains("list dusk_unset 'htmode'") && content.contains("'11'"), "{content}");
    let content = set(&content, &["wireless.@radio[band=2g].htmode=HT20"]).unwrap();
    assert!(!content.contains("dusk_unset"), "{content}");
    let error = set(&content, &["wireless.guest.ssid=x"]).unwrap_err().to_string();
    assert_eq!(error, "wireless.guest: the section is not in the content: expected wireless.guest=TYPE before it");
    let content = set(&content, &["wireless.guest=wifi-iface", "wireless.guest.ssid=x"]).unwrap();
    assert!(content.contains("config wifi-iface 'guest'\n\toption ssid 'x'"), "{content}");
    assert!(set(&content, &["network.lan.mtu=1"]).is_err());
}
