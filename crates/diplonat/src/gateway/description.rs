//! The description of a UPnP device: which services it has, and where they are called.

use super::xml::{Mark, walk};

/// Services that a description may have; routers have some ten.
const MOST: usize = 64;

/// A service of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its type, as in `urn:schemas-upnp-org:service:WANIPConnection:1`.
    pub kind: String,
    /// Where it is called, as it stands there.
    pub control: String,
}

/// Reads the services of a description.
pub fn services(text: &str) -> Result<Vec<Service>, String> {
    let (mut services, mut current) = (Vec::new(), Service::default());
    walk(text, |mark| match mark {
        Mark::Open("service") => current = Service::default(),
        Mark::Close("servicetype", kind) => current.kind = kind.to_owned(),
        Mark::Close("controlurl", control) => current.control = control.to_owned(),
        Mark::Close("service", _) if services.len() < MOST => services.push(std::mem::take(&mut current)),
        Mark::Open(_) | Mark::Close(..) => {}
    })?;
    Ok(services)
}

/// Whether a service makes mappings. The older PPP is as good as IP.
pub fn is_connection(kind: &str) -> bool {
    ["WANIPConnection:1", "WANIPConnection:2", "WANPPPConnection:1"]
        .iter()
        .any(|name| kind.strip_prefix("urn:schemas-upnp-org:service:") == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_however_deep() {
        let text = "<root><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1\
            </serviceType><controlURL>/l3f</controlURL></service></serviceList><deviceList><device><serviceList><service>\
            <serviceType>urn:schemas-upnp-org:service:WANIPConnection:2</serviceType><controlURL> /ctl/IPConn </controlURL>\
            </service></serviceList></device></deviceList></device></root>";
        let services = services(text).unwrap();
        let controls: Vec<_> = services.iter().filter(|service| is_connection(&service.kind)).collect();
        assert_eq!(controls.len(), 1);
        assert_eq!(controls[0].control, "/ctl/IPConn");
    }
}
