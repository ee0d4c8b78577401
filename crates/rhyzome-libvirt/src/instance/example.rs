//! An instance for tests.

use jobs::SecretField;
use jobs::desired::{ImageContent, Instance, Nic, Power};
use types::{InstanceId, NetworkId, SecretText, Sha256Digest};

/// Every field is set, and the host key is no key.
pub fn instance() -> Instance {
    Instance {
        id: InstanceId::from_bits(0x1234_5678_9abc),
        hostname: "hello".parse().unwrap(),
        domain: "home.internal".parse().unwrap(),
        power: Power::Running,
        restarts: 0,
        vcpus: 2.try_into().unwrap(),
        memory: 256.try_into().unwrap(),
        disk: (1_i64 << 30).try_into().unwrap(),
        image: ImageContent {
            sha256: Sha256Digest::from_bytes([0xab; 32]),
            file_size: 4096.try_into().unwrap(),
            virtual_size: (64_i64 << 20).try_into().unwrap(),
        },
        nic: Nic {
            network: NetworkId::from_bits(7),
            segment: 0x1f.try_into().unwrap(),
            mac: "52:54:00:12:34:56".parse().unwrap(),
            address: "10.77.0.10".parse().unwrap(),
            mtu: 1420.try_into().unwrap(),
        },
        ssh_keys: vec![
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.org"
                .parse()
                .unwrap(),
        ],
        host_key: SecretField::Value(SecretText::new("-----BEGIN-----\nhush\n-----END-----\n".to_owned())),
        user_data: Some(SecretField::Value(SecretText::new("#!/bin/sh\ntouch /root/made\n".to_owned()))),
    }
}
