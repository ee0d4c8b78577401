//! What simulated targets hold, as they say themselves.

use std::collections::BTreeSet;

use api::{Client, Instance, Network};
use e2e::installation::Installation;
use jobs::Object;
use jobs::bundle::InvitedKind;
use jobs::simulated::Pattern;
use rhyzome_sim::control;
use rhyzome_sim::order::{Action, Answer, Order};

/// What they hold and should not, and what they should and do not.
pub async fn differences(installation: &Installation, client: &Client) -> Vec<String> {
    let order = Order { targets: Pattern::new("*"), action: Action::Show };
    let (networks, instances) = (client.list::<Network>().await, client.list::<Instance>().await);
    let (Ok(networks), Ok(instances)) = (networks, instances) else {
        return vec!["the core does not answer".to_owned()];
    };
    let Ok(Answer::Members(members)) = control::tell(&installation.data().join("sim.sock"), &order).await else {
        return vec!["the simulation does not answer".to_owned()];
    };
    let mut wanted: BTreeSet<Object> = networks.iter().map(|network| Object::Network(network.id)).collect();
    wanted.extend(instances.iter().map(|instance| Object::Instance(instance.id)));
    let networks: BTreeSet<Object> = networks.iter().map(|network| Object::Segment(network.id)).collect();
    let mut differences = Vec::new();
    for (name, holding) in &members {
        for object in holding.objects.keys() {
            let known = match object {
                Object::Network(_) => holding.kind == InvitedKind::Router && wanted.remove(object),
                Object::Instance(_) => holding.kind == InvitedKind::Hypervisor && wanted.remove(object),
                Object::Segment(_) => networks.contains(object),
                Object::Image(_) => true,
            };
            if !known {
                differences.push(format!("{name} holds {object} and should not"));
            }
        }
    }
    differences.extend(wanted.iter().map(|object| format!("nobody holds {object}")));
    differences
}
