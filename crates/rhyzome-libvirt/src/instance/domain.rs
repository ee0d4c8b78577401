//! The libvirt domain of an instance, as XML (libvirt, formatdomain.html).

use jobs::desired::{Instance, Nic};
use jobs::observed::Accelerator;
use sha2::{Digest, Sha256};
use types::{InstanceId, Version};

use crate::storage::InstanceFiles;
use crate::xml::Element;

/// What the machines' processors are.
pub const ARCHITECTURE: &str = "x86_64";
/// The board they are on, in QEMU's words.
pub const MACHINE: &str = "q35";
/// The XML namespace of our element in a domain's metadata.
pub const METADATA_URI: &str = "urn:rhyzome:domain:1";
/// The prefix under which libvirt keeps it.
pub const METADATA_PREFIX: &str = "rhyzome";

/// The definition of an instance's domain; `version` is the desired state that it was brought to last.
pub fn definition(instance: &Instance, files: &InstanceFiles, accelerator: Accelerator, version: Version) -> String {
    let kind = match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "qemu",
    };
    // Under TCG `maximum` is what it can translate; a guest built for a newer baseline finds its instructions there.
    let cpu = match accelerator {
        Accelerator::Kvm => "host-passthrough",
        Accelerator::Tcg => "maximum",
    };
    let machine = Element::new("type").attribute("arch", ARCHITECTURE).attribute("machine", MACHINE).text("hvm");
    Element::new("domain")
        .attribute("type", kind)
        .child(Element::new("name").text(instance.id))
        .child(Element::new("uuid").text(uuid(instance.id)))
        .child(Element::new("title").text(format!("{}.{}", instance.hostname, instance.domain)))
        .child(Element::new("metadata").child(mark(instance.id, version).attribute("xmlns:rhyzome", METADATA_URI)))
        .child(Element::new("memory").attribute("unit", "MiB").text(instance.memory.get()))
        .child(Element::new("vcpu").text(instance.vcpus))
        .child(Element::new("os").child(machine))
        .child(Element::new("features").child(Element::new("acpi")).child(Element::new("apic")))
        .child(Element::new("cpu").attribute("mode", cpu))
        .child(Element::new("clock").attribute("offset", "utc"))
        .child(Element::new("on_poweroff").text("destroy"))
        .child(Element::new("on_reboot").text("restart"))
        .child(Element::new("on_crash").text("destroy"))
        .child(devices(instance, files))
        .to_string()
}

/// Our element in a domain's metadata, with the prefix that libvirt takes off again.
fn mark(id: InstanceId, version: Version) -> Element {
    Element::new("rhyzome:instance").attribute("id", id).attribute("version", version)
}

/// The same element as libvirt wants it when only the metadata is set.
pub fn metadata(id: InstanceId, version: Version) -> String {
    Element::new("instance").attribute("id", id).attribute("version", version).to_string()
}

/// Reads what [`metadata`] wrote, as libvirt gives it back: it may quote either way.
pub fn read_metadata(element: &str) -> Option<(InstanceId, Version)> {
    let value = |name: &str| {
        let rest = element.split_once(&format!(" {name}="))?.1;
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest[1..].split(quote).next()
    };
    Some((value("id")?.parse().ok()?, value("version")?.parse().ok()?))
}

/// The tap of an instance's interface on the host: fifteen characters, as many as Linux allows.
pub fn tap(id: InstanceId) -> String {
    format!("rt{}", id.suffix())
}

/// The same for the same instance at any time: a UUID of version 8 (RFC 9562) from the id's digest.
fn uuid(id: InstanceId) -> String {
    let mut bytes: [u8; 32] = Sha256::digest(format!("rhyzome {id}")).into();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes[..16]);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn devices(instance: &Instance, files: &InstanceFiles) -> Element {
    let disk = disk(&files.disk(), "qcow2", "vda").child(Element::new("boot").attribute("order", 1));
    let seed = disk_of_seed(files);
    let random = Element::new("rng")
        .attribute("model", "virtio")
        .child(Element::new("backend").attribute("model", "random").text("/dev/urandom"));
    Element::new("devices")
        .child(disk)
        .child(seed)
        .child(interface(instance.id, &instance.nic))
        .child(serial(&files.console(), 0))
        .child(serial(&files.report(), 1))
        .child(random)
        .child(Element::new("memballoon").attribute("model", "none"))
}

fn disk(file: &std::path::Path, format: &'static str, target: &'static str) -> Element {
    Element::new("disk")
        .attribute("type", "file")
        .attribute("device", "disk")
        .child(Element::new("driver").attribute("name", "qemu").attribute("type", format))
        .child(Element::new("source").attribute("file", file.display()))
        .child(Element::new("target").attribute("dev", target).attribute("bus", "virtio"))
}

/// A disk and no CD-ROM, because small guests have a driver for one kind of disk only.
fn disk_of_seed(files: &InstanceFiles) -> Element {
    disk(&files.seed(), "raw", "vdb").child(Element::new("readonly"))
}

fn interface(id: InstanceId, nic: &Nic) -> Element {
    Element::new("interface")
        .attribute("type", "bridge")
        .child(Element::new("mac").attribute("address", nic.mac))
        .child(Element::new("source").attribute("bridge", nic.segment.bridge()))
        .child(Element::new("target").attribute("dev", tap(id)))
        .child(Element::new("model").attribute("type", "virtio"))
        .child(Element::new("mtu").attribute("size", nic.mtu))
        // Nothing boots from the network, and loading QEMU's boot ROM for it takes a second without KVM.
        .child(Element::new("rom").attribute("enabled", "no"))
}

/// Appending, so that the agent can cut a file that has become too long.
fn serial(file: &std::path::Path, port: u8) -> Element {
    Element::new("serial")
        .attribute("type", "file")
        .child(Element::new("source").attribute("path", file.display()).attribute("append", "on"))
        .child(Element::new("target").attribute("port", port))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::instance::example;
    use crate::storage::Storage;

    #[test]
    fn a_domain_is_written_in_full() {
        let instance = example::instance();
        let files = Storage::at(Path::new("/var/lib/rhyzome & sons")).instance(instance.id);
        insta::assert_snapshot!(definition(&instance, &files, Accelerator::Tcg, "1:3".parse().unwrap()));
    }

    #[test]
    fn a_path_cannot_add_a_disk() {
        let instance = example::instance();
        let hostile = "/srv/'\"/><disk type='file'><source file='/etc/shadow'/></disk><!--]]>&amp;\u{7}";
        let files = Storage::at(Path::new(hostile)).instance(instance.id);
        let written = definition(&instance, &files, Accelerator::Tcg, "1:3".parse().unwrap());
        assert_eq!((written.matches("<disk").count(), written.matches("<source").count()), (2, 5), "{written}");
        assert!(!written.contains("<!--") && !written.contains('\u{7}'), "{written}");
    }

    /// Whatever somebody gives for a machine is refused, or is in its XML as text, or not at all.
    #[test]
    fn no_name_and_no_user_data_adds_an_element() {
        let files = Storage::at(Path::new("/var/lib/rhyzome")).instance(example::instance().id);
        let version = "1:3".parse().unwrap();
        let elements = |instance: &Instance| {
            let written = definition(instance, &files, Accelerator::Tcg, version);
            (written.matches('<').count(), written)
        };
        let expected = elements(&example::instance()).0;
        let asked = serde_json::json!({
            "hostname": "hello", "domain": "home.internal", "host_key": "k", "user_data": "#!/bin/sh\n",
        });
        for hostile in ["]]><disk/>", "a'/><disk type='file'/>", "&lt;disk&gt;", "a\u{0}b", "a\nb", "<!--", "a\"b"] {
            for field in ["hostname", "domain", "user_data", "host_key"] {
                let mut asked = asked.clone();
                asked[field] = hostile.into();
                let text = |field: &str| asked[field].as_str().unwrap().to_owned();
                let secret = |field: &str| jobs::SecretField::Value(types::SecretText::new(text(field)));
                let (Ok(hostname), Ok(domain)) = (text("hostname").parse(), text("domain").parse()) else { continue };
                assert!(matches!(field, "user_data" | "host_key"), "{field} may be {hostile:?}");
                let (host_key, user_data) = (secret("host_key"), Some(secret("user_data")));
                let instance = Instance { hostname, domain, host_key, user_data, ..example::instance() };
                let (count, written) = elements(&instance);
                assert!(count == expected && !written.contains(hostile), "{field} {hostile:?}: {written}");
            }
        }
    }

    #[test]
    fn names_fit_and_differ() {
        let ids = [InstanceId::from_bits(u64::MAX), InstanceId::from_bits(0), example::instance().id];
        for id in ids {
            assert_eq!(tap(id).len(), 15);
            assert_eq!(uuid(id).len(), 36);
        }
        assert_ne!(uuid(ids[0]), uuid(ids[1]));
    }

    #[test]
    fn metadata_is_read_as_libvirt_gives_it_back() {
        let (id, version) = (example::instance().id, "2:5".parse().unwrap());
        assert_eq!(read_metadata(&metadata(id, version)), Some((id, version)));
        assert_eq!(read_metadata(&metadata(id, version).replace('"', "'")), Some((id, version)));
        for foreign in ["", "<instance/>", "<instance id='vm' version='1:1'/>", "<a id="] {
            assert_eq!(read_metadata(foreign), None, "{foreign}");
        }
    }
}
