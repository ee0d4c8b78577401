//! Allocations: slots, segments, subnets, addresses, MACs, placements, and who is admitted where.

use types::{
    HostAddr, HostRange, InstanceId, MacAddr, NetworkId, PeerId, ResourceName, Segment, Slot, Subnet, TargetId,
};

use crate::column::{address, address_number, narrow, parse};
use crate::statement::sql;
use crate::{Caller, Constraint, Result, Session, StoreError, Write};

/// A lease that a network's router is to serve.
#[derive(Clone, Debug)]
pub struct LeaseRow {
    /// Whose.
    pub instance: InstanceId,
    /// The instance's name.
    pub name: ResourceName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// The address.
    pub address: HostAddr,
}

/// A peer that a network's router is to admit.
#[derive(Clone, Debug)]
pub struct AdmissionRow {
    /// Which peer.
    pub peer: PeerId,
    /// Its name.
    pub name: ResourceName,
    /// Its spec.
    pub spec: serde_json::Value,
    /// Its address.
    pub address: HostAddr,
}

impl<Mode> Session<'_, Mode> {
    /// The router that serves a network, and the network's place there.
    pub async fn slot(&mut self, caller: &Caller, network: NetworkId) -> Result<(TargetId, Slot)> {
        let row: Option<(String, i64)> = self
            .fetch_optional(
                sql("SELECT router, slot FROM slot WHERE network = $1 AND tenant LIKE $2 || ''")
                    .bind(network.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        let (router, slot) = row.ok_or_else(|| StoreError::not_found(format!("slot of {network}")))?;
        let slot: u16 = narrow("slot.slot", slot)?;
        let slot = Slot::try_from(slot)
            .map_err(|error| StoreError::Corrupt { column: "slot.slot", detail: error.to_string() })?;
        Ok((parse("slot.router", &router)?, slot))
    }

    /// A network's segment.
    pub async fn segment(&mut self, caller: &Caller, network: NetworkId) -> Result<Segment> {
        let row: Option<i64> = self
            .fetch_optional_scalar(
                sql("SELECT segment FROM segment WHERE network = $1 AND tenant LIKE $2 || ''")
                    .bind(network.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        let number: u32 =
            narrow("segment.segment", row.ok_or_else(|| StoreError::not_found(format!("segment of {network}")))?)?;
        Segment::try_from(number)
            .map_err(|error| StoreError::Corrupt { column: "segment.segment", detail: error.to_string() })
    }

    /// The leases that a network's router is to serve.
    pub async fn served_leases(&mut self, caller: &Caller, network: NetworkId) -> Result<Vec<LeaseRow>> {
        let rows: Vec<(String, String, String, i64)> = self
            .fetch_all(
                sql("SELECT r.id, r.name, m.mac, a.address FROM address a JOIN resource r ON r.id = a.instance \
                    JOIN mac m ON m.instance = r.id WHERE a.network = $1 AND a.served = 1 AND a.tenant LIKE $2 || ''")
                .bind(network.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        rows.iter()
            .map(|(instance, name, mac, number)| {
                Ok(LeaseRow {
                    instance: parse("address.instance", instance)?,
                    name: parse("resource.name", name)?,
                    mac: parse("mac.mac", mac)?,
                    address: address("address.address", *number)?,
                })
            })
            .collect()
    }

    /// An instance's address and MAC address.
    pub async fn nic(&mut self, caller: &Caller, instance: InstanceId) -> Result<(HostAddr, MacAddr)> {
        let row: Option<(i64, String)> = self
            .fetch_optional(
                sql("SELECT a.address, m.mac FROM address a JOIN mac m ON m.instance = a.instance \
                    WHERE a.instance = $1 AND a.tenant LIKE $2 || ''")
                .bind(instance.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        let (number, mac) = row.ok_or_else(|| StoreError::not_found(format!("address of {instance}")))?;
        Ok((address("address.address", number)?, parse("mac.mac", &mac)?))
    }

    /// How many instances other than `except` are placed on a hypervisor and refer to `resource` (a network, an image).
    pub async fn placed_referrers(
        &mut self,
        caller: &Caller,
        hypervisor: TargetId,
        resource: types::ResourceId,
        except: InstanceId,
    ) -> Result<u64> {
        let count: i64 = self
            .fetch_scalar(
                sql("SELECT COUNT(*) FROM placement p JOIN reference f ON f.source = p.instance \
                    WHERE p.hypervisor = $1 AND f.target = $2 AND p.instance <> $3 AND p.tenant LIKE $4 || ''")
                .bind(hypervisor.to_string())
                .bind(resource.to_string())
                .bind(except.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        narrow("count", count)
    }

    /// A peer's address.
    pub async fn peer_address(&mut self, caller: &Caller, peer: PeerId) -> Result<HostAddr> {
        let row: Option<i64> = self
            .fetch_optional_scalar(
                sql("SELECT address FROM peer_address WHERE peer = $1 AND tenant LIKE $2 || ''")
                    .bind(peer.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        address("peer_address.address", row.ok_or_else(|| StoreError::not_found(format!("address of {peer}")))?)
    }

    /// The peers that a network's router is to admit.
    pub async fn served_admissions(&mut self, caller: &Caller, network: NetworkId) -> Result<Vec<AdmissionRow>> {
        let rows: Vec<(String, String, String, i64)> = self
            .fetch_all(
                sql("SELECT r.id, r.name, r.spec, p.address FROM admission a JOIN resource r ON r.id = a.peer \
                    JOIN peer_address p ON p.peer = r.id WHERE a.network = $1 AND a.served = 1 AND a.tenant LIKE $2 || ''")
                .bind(network.to_string())
                .bind(caller.pattern()),
            )
            .await?;
        rows.iter()
            .map(|(peer, name, spec, number)| {
                Ok(AdmissionRow {
                    peer: parse("admission.peer", peer)?,
                    name: parse("resource.name", name)?,
                    spec: crate::column::json("resource.spec", spec)?,
                    address: address("peer_address.address", *number)?,
                })
            })
            .collect()
    }

    /// The networks that a peer is admitted to, or was and still is served in.
    pub async fn admissions(&mut self, caller: &Caller, peer: PeerId) -> Result<Vec<NetworkId>> {
        let rows: Vec<String> = self
            .fetch_scalars(
                sql("SELECT network FROM admission WHERE peer = $1 AND tenant LIKE $2 || '' ORDER BY network")
                    .bind(peer.to_string())
                    .bind(caller.pattern()),
            )
            .await?;
        rows.iter().map(|network| parse("admission.network", network)).collect()
    }
}

impl Session<'_, Write> {
    /// Takes the lowest free slot on a router for a network.
    pub async fn take_slot(&mut self, caller: &Caller, router: TargetId, network: NetworkId) -> Result<Slot> {
        let tenant = self.tenant_of(caller, network.into()).await?;
        let free: i64 = self
            .fetch_scalar(
                sql("SELECT MIN(s.slot) + 1 FROM (SELECT 0 AS slot UNION SELECT slot FROM slot WHERE router = $1) s \
                    WHERE NOT EXISTS (SELECT 1 FROM slot t WHERE t.router = $1 AND t.slot = s.slot + 1)")
                .bind(router.to_string()),
            )
            .await?;
        let number: u16 = narrow("slot.slot", free)?;
        let slot = Slot::try_from(number).map_err(|_| StoreError::Exhausted { what: "slot on the router" })?;
        self.execute(
            sql("INSERT INTO slot (router, slot, tenant, network) VALUES ($1, $2, $3, $4)")
                .bind(router.to_string())
                .bind(free)
                .bind(tenant.as_str())
                .bind(network.to_string()),
        )
        .await?;
        Ok(slot)
    }

    /// Takes the lowest free segment for a network.
    pub async fn take_segment(&mut self, caller: &Caller, network: NetworkId) -> Result<Segment> {
        let tenant = self.tenant_of(caller, network.into()).await?;
        let free: i64 = self
            .fetch_scalar(sql(
                "SELECT MIN(s.segment) + 1 FROM (SELECT 0 AS segment UNION SELECT segment FROM segment) s \
             WHERE NOT EXISTS (SELECT 1 FROM segment t WHERE t.segment = s.segment + 1)",
            ))
            .await?;
        let number: u32 = narrow("segment.segment", free)?;
        let segment = Segment::try_from(number).map_err(|_| StoreError::Exhausted { what: "segment" })?;
        self.execute(
            sql("INSERT INTO segment (segment, tenant, network) VALUES ($1, $2, $3)")
                .bind(free)
                .bind(tenant.as_str())
                .bind(network.to_string()),
        )
        .await?;
        Ok(segment)
    }

    /// Takes a subnet on a router: the one that is wanted, or the first free one of `prefix_len` bits in the pool.
    pub async fn take_subnet(
        &mut self,
        caller: &Caller,
        router: TargetId,
        network: NetworkId,
        wanted: Option<Subnet>,
        (pool, prefix_len): (Subnet, u8),
    ) -> Result<Subnet> {
        let tenant = self.tenant_of(caller, network.into()).await?;
        let taken: Vec<(i64, i64)> = self
            .fetch_all(
                sql("SELECT first_address, last_address FROM subnet WHERE router = $1 ORDER BY first_address")
                    .bind(router.to_string()),
            )
            .await?;
        let bounds =
            |subnet: Subnet| (i64::from(u32::from(subnet.network())), i64::from(u32::from(subnet.broadcast())));
        let free = |subnet: &Subnet| {
            let (first, last) = bounds(*subnet);
            let next = taken.partition_point(|(_, taken_last)| *taken_last < first);
            taken.get(next).is_none_or(|(taken_first, _)| *taken_first > last)
        };
        let subnet = match wanted {
            Some(subnet) if free(&subnet) => subnet,
            Some(_) => return Err(StoreError::Refused { constraint: Constraint::Unique }),
            None => pool.split(prefix_len).find(free).ok_or(StoreError::Exhausted { what: "subnet in the pool" })?,
        };
        let (first, last) = bounds(subnet);
        self.execute(
            sql(
                "INSERT INTO subnet (network, tenant, router, first_address, last_address) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(network.to_string())
            .bind(tenant.as_str())
            .bind(router.to_string())
            .bind(first)
            .bind(last),
        )
        .await?;
        Ok(subnet)
    }

    /// Takes an address of a network for an instance: the one that is wanted, or the first free one of `ranges`.
    pub async fn take_address(
        &mut self,
        caller: &Caller,
        network: NetworkId,
        instance: InstanceId,
        wanted: Option<HostAddr>,
        ranges: &[HostRange],
    ) -> Result<HostAddr> {
        let tenant = self.tenant_of(caller, instance.into()).await?;
        self.execute(
            sql("DELETE FROM address WHERE network = $1 AND instance IS NULL AND rests_until <= $2")
                .bind(network.to_string())
                .bind(self.now()),
        )
        .await?;
        let chosen = match wanted {
            Some(address) => address,
            None => self
                .first_free_address(network, ranges)
                .await?
                .ok_or(StoreError::Exhausted { what: "address in the network" })?,
        };
        self.execute(
            sql("INSERT INTO address (network, address, tenant, instance) VALUES ($1, $2, $3, $4)")
                .bind(network.to_string())
                .bind(address_number(chosen))
                .bind(tenant.as_str())
                .bind(instance.to_string()),
        )
        .await?;
        Ok(chosen)
    }

    async fn first_free_address(&mut self, network: NetworkId, ranges: &[HostRange]) -> Result<Option<HostAddr>> {
        for range in ranges {
            let free: Option<i64> = self
                .fetch_scalar(
                    sql("SELECT MIN(c.address) FROM (SELECT $2 AS address UNION \
                        SELECT address + 1 FROM address WHERE network = $1 AND address BETWEEN $2 AND $3) c \
                        WHERE c.address <= $3 \
                        AND NOT EXISTS (SELECT 1 FROM address a WHERE a.network = $1 AND a.address = c.address)")
                    .bind(network.to_string())
                    .bind(address_number(range.start))
                    .bind(address_number(range.end)),
                )
                .await?;
            if let Some(number) = free {
                return address("address.address", number).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether the network's router is to serve an instance's lease.
    pub async fn serve_lease(&mut self, caller: &Caller, instance: InstanceId, served: bool) -> Result<()> {
        self.execute(
            sql("UPDATE address SET served = $1 WHERE instance = $2 AND tenant LIKE $3 || ''")
                .bind(i64::from(served))
                .bind(instance.to_string())
                .bind(caller.pattern()),
        )
        .await?;
        Ok(())
    }

    /// Reserves a MAC address for an instance, unless another has it; tells whether it did. The transaction goes on in
    /// either case, so that another one can be tried.
    pub async fn take_mac(&mut self, caller: &Caller, instance: InstanceId, mac: MacAddr) -> Result<bool> {
        let tenant = self.tenant_of(caller, instance.into()).await?;
        let taken = self
            .execute(
                sql("INSERT INTO mac (mac, tenant, instance) VALUES ($1, $2, $3) ON CONFLICT (mac) DO NOTHING")
                    .bind(mac.to_string())
                    .bind(tenant.as_str())
                    .bind(instance.to_string()),
            )
            .await?;
        Ok(taken > 0)
    }

    /// Takes an address of the pool for a peer.
    pub async fn take_peer_address(&mut self, caller: &Caller, peer: PeerId, pool: Subnet) -> Result<HostAddr> {
        let tenant = self.tenant_of(caller, peer.into()).await?;
        self.execute(sql("DELETE FROM peer_address WHERE peer IS NULL AND rests_until <= $1").bind(self.now())).await?;
        let exhausted = StoreError::Exhausted { what: "address for peers" };
        let (Some(first), Some(last)) = (pool.host(1), pool.host(pool.host_count())) else { return Err(exhausted) };
        let free: Option<i64> = self
            .fetch_scalar(
                sql("SELECT MIN(c.address) FROM (SELECT $1 AS address UNION SELECT address + 1 FROM peer_address) c \
                    WHERE c.address BETWEEN $1 AND $2 \
                    AND NOT EXISTS (SELECT 1 FROM peer_address a WHERE a.address = c.address)")
                .bind(address_number(first))
                .bind(address_number(last)),
            )
            .await?;
        let chosen = address("peer_address.address", free.ok_or(exhausted)?)?;
        self.execute(
            sql("INSERT INTO peer_address (address, tenant, peer) VALUES ($1, $2, $3)")
                .bind(address_number(chosen))
                .bind(tenant.as_str())
                .bind(peer.to_string()),
        )
        .await?;
        Ok(chosen)
    }

    /// Admits a peer to a network, or says whether the network's router is to know it.
    pub async fn admit(&mut self, caller: &Caller, peer: PeerId, network: NetworkId, served: bool) -> Result<()> {
        let tenant = self.tenant_of(caller, peer.into()).await?;
        self.execute(
            sql("INSERT INTO admission (peer, network, tenant, served) VALUES ($1, $2, $3, $4) \
                ON CONFLICT (peer, network) DO UPDATE SET served = excluded.served")
            .bind(peer.to_string())
            .bind(network.to_string())
            .bind(tenant.as_str())
            .bind(i64::from(served)),
        )
        .await?;
        Ok(())
    }

    /// Takes back a peer's admission that no router serves any more.
    pub async fn dismiss(&mut self, caller: &Caller, peer: PeerId, network: NetworkId) -> Result<()> {
        self.execute(
            sql("DELETE FROM admission WHERE peer = $1 AND network = $2 AND tenant LIKE $3 || ''")
                .bind(peer.to_string())
                .bind(network.to_string())
                .bind(caller.pattern()),
        )
        .await?;
        Ok(())
    }

    /// Returns all that an instance holds to the pools; its address rests until `rests_until`.
    pub async fn release_instance(&mut self, caller: &Caller, instance: InstanceId, rests_until: i64) -> Result<()> {
        self.execute(sql(
            "UPDATE address SET instance = NULL, served = 0, rests_until = $1 WHERE instance = $2 AND tenant LIKE $3 || ''",
        )
        .bind(rests_until)
        .bind(instance.to_string())
        .bind(caller.pattern()))
        .await?;
        for statement in [
            "DELETE FROM mac WHERE instance = $1 AND tenant LIKE $2 || ''",
            "DELETE FROM placement WHERE instance = $1 AND tenant LIKE $2 || ''",
        ] {
            self.delete_of(statement, caller, &instance.to_string()).await?;
        }
        Ok(())
    }

    /// Returns all that a network holds to the pools.
    pub async fn release_network(&mut self, caller: &Caller, network: NetworkId) -> Result<()> {
        for statement in [
            "DELETE FROM slot WHERE network = $1 AND tenant LIKE $2 || ''",
            "DELETE FROM segment WHERE network = $1 AND tenant LIKE $2 || ''",
            "DELETE FROM subnet WHERE network = $1 AND tenant LIKE $2 || ''",
        ] {
            self.delete_of(statement, caller, &network.to_string()).await?;
        }
        Ok(())
    }

    /// Returns a peer's address to the pool, where it rests until `rests_until`.
    pub async fn release_peer(&mut self, caller: &Caller, peer: PeerId, rests_until: i64) -> Result<()> {
        self.execute(
            sql("UPDATE peer_address SET peer = NULL, rests_until = $1 WHERE peer = $2 AND tenant LIKE $3 || ''")
                .bind(rests_until)
                .bind(peer.to_string())
                .bind(caller.pattern()),
        )
        .await?;
        Ok(())
    }

    /// Returns the addresses that have rested to their pools.
    pub async fn forget_rested_addresses(&mut self) -> Result<()> {
        for statement in [
            "DELETE FROM address WHERE instance IS NULL AND rests_until <= $1",
            "DELETE FROM peer_address WHERE peer IS NULL AND rests_until <= $1",
        ] {
            self.execute(sql(statement).bind(self.now())).await?;
        }
        Ok(())
    }

    async fn delete_of(&mut self, statement: &'static str, caller: &Caller, id: &str) -> Result<()> {
        self.execute(sql(statement).bind(id).bind(caller.pattern())).await?;
        Ok(())
    }
}
