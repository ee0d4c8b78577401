//! How much is served to whom, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use types::TokenId;

use crate::core::Core;
use crate::metric;
use crate::refusal::Refusal;
use crate::serve_config::{Allowance, Rate};

/// Whoever is remembered at once, of each sort. Beyond that, strangers share what one may have.
const REMEMBERED: usize = 1 << 16;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// The address as far as it says who asks: of IPv6, the /64.
    pub fn key(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
            address => address,
        }
    }

    /// The address of the client behind a request.
    pub fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
    }
}

/// All limits of one server.
pub struct Limits {
    tokens: Option<Buckets<TokenId>>,
    addresses: Option<Buckets<IpAddr>>,
    streams: Places<TokenId>,
}

impl Limits {
    /// As the configuration says.
    pub fn new(rate: &Rate) -> Self {
        Self {
            tokens: rate.token.map(|allowance| Buckets::new(allowance, None)),
            addresses: rate.address.map(|allowance| Buckets::new(allowance, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))),
            streams: Places::new(rate.streams),
        }
    }

    /// Counts a request of somebody who is signed in.
    pub fn token(&self, token: TokenId) -> Result<(), Refusal> {
        self.tokens.as_ref().map_or(Ok(()), |tokens| tokens.take(token, "too many requests with this token"))
    }

    /// Counts a request of somebody who is not.
    pub fn address(&self, address: ClientAddr) -> Result<(), Refusal> {
        let take = |buckets: &Buckets<_>| {
            buckets.take(address.key(), "too many requests from this address without a good token")
        };
        self.addresses.as_ref().map_or(Ok(()), take)
    }

    /// A place for an event stream, until it is dropped.
    pub fn stream(&self, token: TokenId) -> Result<Place<TokenId>, Refusal> {
        self.streams.take(token).ok_or_else(|| {
            metric::rate_limited("stream");
            Refusal::TooMany { of: "too many event streams with this token", wait: std::time::Duration::from_secs(10) }
        })
    }
}

/// Counts requests that nobody signed in for.
pub async fn count_address(State(core): State<Arc<Core>>, request: Request, next: Next) -> Result<Response, Refusal> {
    core.limits.address(ClientAddr::of(request.extensions()))?;
    Ok(next.run(request).await)
}

/// A bucket for each key (GCRA).
struct Buckets<K: Clone + Eq + Hash> {
    limiter: RateLimiter<K, HashMapStateStore<K>, DefaultClock, NoOpMiddleware<<DefaultClock as Clock>::Instant>>,
    clock: DefaultClock,
    /// Whose bucket those share for whom there is no room.
    others: Option<K>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    fn new(allowance: Allowance, others: Option<K>) -> Self {
        let quota = Quota::per_second(allowance.per_second).allow_burst(allowance.burst);
        let clock = DefaultClock::default();
        Self { limiter: RateLimiter::hashmap_with_clock(quota, clock.clone()), clock, others }
    }

    fn take(&self, key: K, of: &'static str) -> Result<(), Refusal> {
        if self.limiter.len() >= REMEMBERED {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let key = match &self.others {
            Some(others) if self.limiter.len() >= REMEMBERED => others.clone(),
            _ => key,
        };
        self.limiter.check_key(&key).map_err(|not_until| {
            metric::rate_limited(if self.others.is_some() { "address" } else { "token" });
            Refusal::TooMany { of, wait: not_until.wait_time_from(self.clock.now()) }
        })
    }
}

/// So many places for each key.
pub struct Places<K> {
    limit: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// `limit` places for each.
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// A place, if one is left.
    pub fn take(&self, key: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place { key, taken: Arc::clone(&self.taken) })
    }
}

/// A place that is taken until this is dropped.
pub struct Place<K: Eq + Hash> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = taken.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            taken.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn each_address_has_its_own_and_a_64_is_one() {
        let one = NonZeroU32::new(1).unwrap();
        let rate = Rate { address: Some(Allowance { per_second: one, burst: one }), ..Rate::default() };
        let limits = Limits::new(&rate);
        let ask = |text: &str| limits.address(ClientAddr(text.parse().unwrap())).is_ok();
        assert!(ask("192.0.2.1") && !ask("192.0.2.1") && ask("192.0.2.2"));
        assert!(!ask("::ffff:192.0.2.2"), "the same address in another form");
        assert!(ask("2001:db8::1") && !ask("2001:db8::2") && ask("2001:db8:0:1::1"));
    }

    #[test]
    fn strangers_share_when_there_are_too_many_to_remember() {
        let one = NonZeroU32::new(1).unwrap();
        let limits = Limits::new(&Rate { address: Some(Allowance { per_second: one, burst: one }), ..Rate::default() });
        for number in 0..u32::try_from(REMEMBERED).unwrap() * 2 {
            let _ = limits.address(ClientAddr(IpAddr::V4(Ipv4Addr::from(number))));
        }
        assert!(limits.addresses.unwrap().limiter.len() <= REMEMBERED + 1);
    }

    #[test]
    fn a_place_is_free_again() {
        let places = Places::new(1);
        let first = places.take(1).unwrap();
        assert!(places.take(1).is_none() && places.take(2).is_some());
        drop(first);
        assert!(places.take(1).is_some());
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
