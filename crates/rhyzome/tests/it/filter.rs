//! Lists of what is wanted, page by page.

use std::sync::Arc;

use api::{Image, Instance, Network, Page, Peer};
use jobs::simulated::Simulated;
use serde_json::json;

use crate::installation::{Installation, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn lists_hold_what_was_asked_for() {
    let mut installation = Installation::start().await;
    installation.agent("router", "router", &Arc::new(Simulated::router())).await;
    installation.agent("hypervisor", "host", &Arc::new(Simulated::hypervisor())).await;
    let client = installation.client("tester");
    for (name, floor) in [("blue", "1"), ("red", "2")] {
        let body = json!({"name": name, "tags": {"floor": floor, "site": "a:b"}});
        let made = client.create::<Network>(&serde_json::from_value(body).unwrap()).await.unwrap();
        succeeded(&client, made.operation).await;
    }
    let body = json!({"name": "tiny", "spec": {"sha256": "0".repeat(64)}});
    client.create::<Image>(&serde_json::from_value(body).unwrap()).await.unwrap();
    for number in 0..7 {
        let network = if number % 2 == 0 { "blue" } else { "red" };
        // With a disk of known size they are placed before the image comes.
        let spec = json!({"network": network, "image": "tiny", "disk_bytes": 1 << 30});
        let body = json!({"name": format!("m{number}"), "spec": spec,
            "tags": {"parity": (number % 2).to_string(), "third": (number % 3).to_string()}});
        client.create::<Instance>(&serde_json::from_value(body).unwrap()).await.unwrap();
    }
    let key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
    let body = json!({"name": "phone", "spec": {"public_key": key, "networks": ["red"]}});
    client.create::<Peer>(&serde_json::from_value(body).unwrap()).await.unwrap();

    let names = async |query: &[(&str, &str)]| -> Vec<String> {
        let page: Page<Instance> = client.page(None, query).await.unwrap();
        page.items.iter().map(|instance| instance.name.to_string()).collect()
    };
    assert_eq!(names(&[("network", "blue")]).await, ["m0", "m2", "m4", "m6"]);
    let red: Network = client.get(&crate::installation::named::<Network>("red")).await.unwrap();
    assert_eq!(names(&[("network", &red.id.to_string())]).await, ["m1", "m3", "m5"]);
    assert_eq!(names(&[("tag", "parity:0"), ("tag", "third:0")]).await, ["m0", "m6"]);
    assert_eq!(names(&[("network", "red"), ("tag", "third:0"), ("image", "tiny")]).await, ["m3"]);
    assert_eq!(names(&[("name", "m4")]).await, ["m4"]);
    assert_eq!(names(&[("name", "m4"), ("network", "red")]).await, Vec::<String>::new());
    assert_eq!(names(&[("state", "creating")]).await.len(), 7);
    assert!(names(&[("state", "ready")]).await.is_empty());
    crate::installation::until("instances to be placed", async || {
        (names(&[("hypervisor", "host")]).await.len() == 7).then_some(())
    })
    .await;
    let networks: Page<Network> = client.page(None, &[("tag", "site:a:b"), ("tag", "floor:2")]).await.unwrap();
    assert_eq!(networks.items[0].name.as_str(), "red");
    let peers: Page<Peer> = client.page(None, &[("network", "red")]).await.unwrap();
    assert_eq!(peers.items.len(), 1);
    let peers: Page<Peer> = client.page(None, &[("network", "blue")]).await.unwrap();
    assert!(peers.items.is_empty());

    // Pages keep to their filter.
    let filter = [("network", "blue"), ("limit", "3")];
    let first: Page<Instance> = client.page(None, &filter).await.unwrap();
    let next = first.next.unwrap();
    let second: Page<Instance> = client.page(Some(&next), &filter).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (3, 1, None));
    for other in [&[("network", "red")][..], &[]] {
        let refused = client.page::<Instance>(Some(&next), other).await.unwrap_err().to_string();
        assert!(refused.contains("another filter"), "{refused}");
    }
    for (query, told) in [
        (("network", "green"), "network: there is no network green"),
        (("tag", "parity"), "expected name:value"),
        (("state", "well"), "state: "),
        (("state", ""), "state: expected a value"),
        (("hypervisor", "none"), "there is no hypervisor none"),
        (("imag", "tiny"), "did you mean \"image\""),
    ] {
        let refused = client.page::<Instance>(None, &[query]).await.unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}
