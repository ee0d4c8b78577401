//! Radios and their clients: netifd's `network.wireless`, and hostapd's object for each network.

use fleet::status::{Client as WirelessClient, RadioStatus};
use serde_json::{Value, json};
use ubus::Client;

use super::answer::{flag, list, number, text};
use super::ask;

/// The radios, and who is connected to them.
pub(super) async fn read(client: &Client) -> (Vec<RadioStatus>, Vec<WirelessClient>) {
    let told = ask(client, "network.wireless", "status", json!({})).await;
    let (mut radios, mut clients) = (Vec::new(), Vec::new());
    for (name, radio) in told.as_object().into_iter().flatten() {
        let devices: Vec<String> = list(radio, "interfaces").map(|interface| text(interface, "ifname")).collect();
        for device in devices.iter().filter(|device| !device.is_empty()) {
            let object = format!("hostapd.{device}");
            let told = ask(client, &object, "get_clients", json!({})).await;
            clients.extend(clients_of(device, &told));
        }
        radios.push(self::radio(name, radio));
    }
    (radios, clients)
}

fn radio(name: &str, told: &Value) -> RadioStatus {
    let config = told.get("config").cloned().unwrap_or_default();
    let band = match (text(&config, "band"), text(&config, "hwmode").as_str()) {
        (band, _) if !band.is_empty() => band,
        (_, "11a" | "11na" | "11ac") => "5g".to_owned(),
        (_, "11b" | "11g" | "11ng") => "2g".to_owned(),
        _ => String::new(),
    };
    let channel = config.get("channel");
    let channel = channel.and_then(|channel| channel.as_u64().or_else(|| channel.as_str()?.parse().ok()));
    let network = |interface: &Value| {
        let ssid = interface.get("config").map(|config| text(config, "ssid")).unwrap_or_default();
        format!("{} {ssid}", text(interface, "ifname"))
    };
    RadioStatus {
        name: name.to_owned(),
        is_up: flag(told, "up"),
        band,
        channel: u32::try_from(channel.unwrap_or(0)).unwrap_or(0),
        networks: list(told, "interfaces").map(network).collect(),
    }
}

fn clients_of(device: &str, told: &Value) -> Vec<WirelessClient> {
    let clients = told.get("clients").and_then(Value::as_object).into_iter().flatten();
    let signal = |client: &Value| client.get("signal").and_then(Value::as_i64).unwrap_or(0).unsigned_abs();
    clients
        .filter(|(_, client)| client.get("authorized").is_none() || flag(client, "authorized"))
        .map(|(mac, client)| WirelessClient {
            mac: mac.to_ascii_lowercase(),
            device: device.to_owned(),
            signal: u32::try_from(signal(client).max(number(client, "rssi"))).unwrap_or(0),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radios_and_clients_are_read_as_netifd_and_hostapd_tell_them() {
        let told = json!({
            "up": true, "config": {"channel": "36", "band": "5g"},
            "interfaces": [{"ifname": "phy0-ap0", "config": {"ssid": "barn"}}]
        });
        let radio = radio("radio0", &told);
        assert_eq!((radio.band.as_str(), radio.channel, radio.is_up), ("5g", 36, true));
        assert_eq!(radio.networks, ["phy0-ap0 barn"]);
        let told = json!({"freq": 5180, "clients": {
            "52:54:00:AA:00:01": {"authorized": true, "signal": -61},
            "52:54:00:aa:00:02": {"authorized": false, "signal": -40}
        }});
        let clients = clients_of("phy0-ap0", &told);
        assert_eq!(clients.len(), 1);
        assert_eq!((clients[0].mac.as_str(), clients[0].signal), ("52:54:00:aa:00:01", 61));
    }
}
