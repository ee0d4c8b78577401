//! Where the other nodes are.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};

use fleet::{JoinKey, NoiseKey};

/// Where the masters are that a join key names; one whose name is not known is passed over.
pub fn masters(join: &JoinKey) -> BTreeMap<NoiseKey, Vec<SocketAddr>> {
    let mut masters: BTreeMap<NoiseKey, Vec<SocketAddr>> = BTreeMap::new();
    for (address, key) in &join.masters {
        match address.to_socket_addrs() {
            Ok(found) => masters.entry(*key).or_default().extend(found),
            Err(error) => eprintln!("{address}: {error}"),
        }
    }
    masters
}
