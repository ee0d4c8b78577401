//! Joining: keys that are a right to ask, and what a device asks with.

use types::ParseError;
use zeroize::Zeroizing;

use crate::cbor::{self, BytesError, Cbor, Reader, Writer};
use crate::hash::FleetId;
use crate::key::{NodeKey, NodeSecret, NoiseKey, VerifyKey};
use crate::signed::{Domain, KnownKey, OpenError, Signed};
use crate::{DeviceId, DeviceName, GroupName};

/// What a join key begins with as text.
const PREFIX: &str = "dusk1-";
/// The longest join key in bytes, and how many masters it may name.
const LONGEST_KEY: usize = 1024;
const MASTERS: usize = 8;
/// The longest request.
pub const LONGEST_REQUEST: usize = 1024;
/// The longest text in a request.
const LONGEST_HINT: usize = 64;

/// What a join key allows, as the authority chain says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTerms {
    /// Whoever signs with this may ask.
    pub key: VerifyKey,
    /// The group that devices come into.
    pub group: Option<GroupName>,
    /// How many devices may come.
    pub uses: u32,
    /// The last day, counted from 1970-01-01; a master with synchronised time judges it.
    pub last_day: u32,
    /// Boards (`glinet,gl-mt6000`) and MAC addresses (`02:00:5e:00:53:01`) that may come; any if there is none.
    pub hardware: Vec<String>,
    /// Whether a voter may let devices in without a person.
    pub automatic: bool,
}

cbor_arrays! {
    JoinTerms 6 [key, group, uses, last_day, hardware, automatic];
    RequestBody 7 [format, fleet, key, join, board, mac, name];
    JoinRequest 2 [key, request];
    KeyBody 3 [format, fleet, key];
}

impl JoinTerms {
    /// Whether a device of this hardware may ask.
    pub fn admits(&self, board: &str, mac: &str) -> bool {
        self.hardware.is_empty() || self.hardware.iter().any(|allowed| allowed == board || allowed == mac)
    }
}

/// A join key as an operator hands it out: the right to ask, and whom.
pub struct JoinKey {
    /// The fleet.
    pub fleet: FleetId,
    seed: Zeroizing<[u8; 32]>,
    /// Addresses (`host:port`) of those who serve the fleet, with their Noise keys.
    pub masters: Vec<(String, NoiseKey)>,
}

impl Cbor for JoinKey {
    fn write(&self, out: &mut Writer) {
        out.array(3);
        self.fleet.write(out);
        self.seed.write(out);
        self.masters.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
        input.array_of(3, "a join key (an array of 3)")?;
        Ok(Self { fleet: Cbor::read(input)?, seed: Zeroizing::new(Cbor::read(input)?), masters: Cbor::read(input)? })
    }
}

impl JoinKey {
    /// A key with this seed.
    pub fn new(fleet: FleetId, seed: [u8; 32], masters: Vec<(String, NoiseKey)>) -> Self {
        Self { fleet, seed: Zeroizing::new(seed), masters }
    }

    /// What the authority chain knows it by.
    pub fn public(&self) -> VerifyKey {
        self.secret().public().verify
    }

    /// The text that is handed out: whoever has it may ask.
    pub fn reveal(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(cbor::to_bytes(self));
        Zeroizing::new(PREFIX.to_owned() + &data_encoding::BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads the text; the error does not repeat it.
    pub fn from_text(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("(hidden)", "a join key (\"dusk1-\" and what `dusk invite` printed after it)");
        let text = text.trim().strip_prefix(PREFIX).ok_or_else(error)?;
        let bytes = Zeroizing::new(data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| error())?);
        let key: Self = cbor::from_bytes(&bytes, LONGEST_KEY).map_err(|_| error())?;
        (key.masters.len() <= MASTERS).then_some(key).ok_or_else(error)
    }

    fn secret(&self) -> NodeSecret {
        NodeSecret::of(*self.seed)
    }
}

/// What a device asks to join with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The device's signing key.
    pub key: VerifyKey,
    /// The key that it asks by.
    pub join: VerifyKey,
    /// What OpenWrt calls the board; a hint.
    pub board: String,
    /// Its first MAC address; a hint.
    pub mac: String,
    /// What it would like to be called; a hint.
    pub name: Option<DeviceName>,
}

struct RequestBody {
    format: u8,
    fleet: FleetId,
    key: VerifyKey,
    join: VerifyKey,
    board: String,
    mac: String,
    name: Option<DeviceName>,
}

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The bytes or a signature.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is for another fleet.
    #[error("the request is for fleet {0}")]
    OtherFleet(FleetId),
    /// The keys that were bound are not those of whoever asks.
    #[error("the request is by another key than the one that is bound")]
    OtherKey,
    /// A text is too long.
    #[error("{0} of the request is longer than {LONGEST_HINT} characters")]
    Long(&'static str),
}

impl From<BytesError> for RequestError {
    fn from(error: BytesError) -> Self {
        Self::Open(error.into())
    }
}

impl Request {
    /// Signs it twice: the join key's signature is the body of what the device signs.
    ///
    /// The inner part is `[body, signature]` by the join key, the outer one is that and the device's signature.
    pub fn sign(&self, join: &JoinKey, device: &NodeSecret) -> Signed {
        let body = RequestBody {
            format: 1,
            fleet: join.fleet,
            key: self.key,
            join: self.join,
            board: self.board.clone(),
            mac: self.mac.clone(),
            name: self.name.clone(),
        };
        Signed::new(Domain::Request, &Signed::new(Domain::Join, &body, &join.secret()), device)
    }

    /// Checks both signatures. Whether the key still admits anybody is the authority chain's to say.
    pub fn open(signed: &Signed, fleet: FleetId) -> Result<Self, RequestError> {
        if signed.body.len() > LONGEST_REQUEST {
            return Err(BytesError::Oversized { size: signed.body.len(), limit: LONGEST_REQUEST }.into());
        }
        let inner: Signed = signed.read()?;
        let body: RequestBody = inner.read()?;
        if body.format != 1 {
            return Err(BytesError::Malformed { at: 1, expected: "format 1" }.into());
        }
        if body.fleet != fleet {
            return Err(RequestError::OtherFleet(body.fleet));
        }
        for (text, what) in [(&body.board, "the board"), (&body.mac, "the MAC address")] {
            if text.chars().count() > LONGEST_HINT {
                return Err(RequestError::Long(what));
            }
        }
        let known = |key| KnownKey::new(key).map_err(OpenError::from);
        known(body.join)?.verify(Domain::Join, &inner.body, &inner.signature).map_err(OpenError::from)?;
        known(body.key)?.verify(Domain::Request, &signed.body, &signed.signature).map_err(OpenError::from)?;
        let RequestBody { key, join, board, mac, name, .. } = body;
        Ok(Self { key, join, board, mac, name })
    }
}

/// What a device that asks hands in: its keys, bound, and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The device's keys, as [`bind`] makes them.
    pub key: Signed,
    /// The [`Request`].
    pub request: Signed,
}

impl JoinRequest {
    /// Asks by a join key.
    pub fn new(join: &JoinKey, device: &NodeSecret, (board, mac): (String, String), name: Option<DeviceName>) -> Self {
        let request = Request { key: device.public().verify, join: join.public(), board, mac, name };
        Self { key: bind(Some(join.fleet), device), request: request.sign(join, device) }
    }

    /// The shipped form.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_bytes(self)
    }

    /// Reads the shipped form; nothing is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BytesError> {
        cbor::from_bytes(bytes, 2 * LONGEST_REQUEST)
    }

    /// Checks both parts, and that they are by one device.
    pub fn open(&self, fleet: FleetId) -> Result<Asking, RequestError> {
        let request = Request::open(&self.request, fleet)?;
        let key = bound(&self.key, Some(fleet))?;
        match key.verify == request.key {
            true => Ok(Asking { device: DeviceId::first_known_by(&key), key, request }),
            false => Err(RequestError::OtherKey),
        }
    }
}

/// Who asks, after a look at all signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The id that the device gets.
    pub device: DeviceId,
    /// Its keys.
    pub key: NodeKey,
    /// What it asks with.
    pub request: Request,
}

struct KeyBody {
    format: u8,
    fleet: Option<FleetId>,
    key: NodeKey,
}

/// Binds a node's three keys to each other and to the fleet, by the first of them. In a genesis the fleet is null.
pub fn bind(fleet: Option<FleetId>, secret: &NodeSecret) -> Signed {
    Signed::new(Domain::Key, &KeyBody { format: 1, fleet, key: secret.public() }, secret)
}

/// Checks that three keys were bound for this fleet.
pub fn bound(signed: &Signed, fleet: Option<FleetId>) -> Result<NodeKey, OpenError> {
    let body: KeyBody = signed.read()?;
    let known = KnownKey::new(body.key.verify)?;
    known.verify(Domain::Key, &signed.body, &signed.signature)?;
    match body.format == 1 && body.fleet == fleet {
        true => Ok(body.key),
        false => Err(BytesError::Malformed { at: 1, expected: "keys that are bound for this fleet" }.into()),
    }
}

/// The keys of a binding that was checked before.
pub fn keys_of(signed: &Signed) -> Result<NodeKey, BytesError> {
    Ok(signed.read::<KeyBody>()?.key)
}

/// Who asked to join and was not answered yet: a bounded memory, in which a key's own requests make room first.
#[derive(Default)]
pub struct Requests {
    waiting: Vec<(Asking, JoinRequest)>,
}

/// Requests in memory, altogether and by one join key.
const WAITING: usize = 256;
const WAITING_BY_KEY: usize = 64;

impl Requests {
    /// Remembers a request. The same device asks again in its own place; where there is no room, the oldest by the same
    /// join key gives way, and where that has none, the request is forgotten: it comes again.
    pub fn remember(&mut self, asking: Asking, request: JoinRequest) {
        self.forget(asking.device);
        let join = asking.request.join;
        let mut same = (0..self.waiting.len()).filter(|at| self.waiting[*at].0.request.join == join);
        let (first, count) = (same.next(), same.count() + 1);
        match first {
            Some(first) if count >= WAITING_BY_KEY || self.waiting.len() >= WAITING => drop(self.waiting.remove(first)),
            None if self.waiting.len() >= WAITING => return,
            _ => {}
        }
        self.waiting.push((asking, request));
    }

    /// Forgets what a device asked.
    pub fn forget(&mut self, device: DeviceId) {
        self.waiting.retain(|(asking, _)| asking.device != device);
    }

    /// Those that wait, the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &(Asking, JoinRequest)> {
        self.waiting.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(join: &JoinKey, device: &NodeSecret) -> JoinRequest {
        JoinRequest::new(join, device, ("x86".into(), "02:00:5e:00:53:01".into()), None)
    }

    fn join_key(seed: u8) -> JoinKey {
        let noise = NodeSecret::of([seed; 32]).public().noise;
        JoinKey::new(FleetId::of([9; 32]), [seed; 32], vec![("master:4747".into(), noise)])
    }

    #[test]
    fn a_key_is_read_as_it_was_handed_out_and_not_repeated_in_errors() {
        let key = JoinKey::from_text(&join_key(1).reveal()).unwrap();
        assert_eq!((key.public(), key.masters.len()), (join_key(1).public(), 1));
        let Err(error) = JoinKey::from_text("dusk1-secret") else { panic!("read") };
        assert!(!error.to_string().contains("dusk1-secret"));
    }

    #[test]
    fn a_request_is_by_its_device_and_its_key_and_for_its_fleet() {
        let (join, device, other) = (join_key(1), NodeSecret::of([2; 32]), NodeSecret::of([3; 32]));
        let asked = request(&join, &device);
        let asked = JoinRequest::from_bytes(&asked.to_bytes()).unwrap();
        assert_eq!(asked.open(join.fleet).unwrap().device, DeviceId::first_known_by(&device.public()));
        assert!(matches!(asked.open(FleetId::of([8; 32])), Err(RequestError::OtherFleet(_))));
        let body: Request = Request::open(&asked.request, join.fleet).unwrap();
        let is_unsigned = |signed: Signed| {
            matches!(Request::open(&signed, join.fleet), Err(RequestError::Open(OpenError::Signature(_))))
        };
        assert!(is_unsigned(body.sign(&join, &other)), "by another device");
        assert!(is_unsigned(body.sign(&join_key(4), &device)), "without the join key");
        let mixed = JoinRequest { key: bind(Some(join.fleet), &other), ..asked };
        assert_eq!(mixed.open(join.fleet), Err(RequestError::OtherKey));
    }

    #[test]
    fn a_flood_by_one_key_leaves_room_for_others() {
        let mut requests = Requests::default();
        let (flood, other) = (join_key(1), join_key(2));
        let ask = |join: &JoinKey, seed: u16| {
            let mut bytes = [7; 32];
            bytes[..2].copy_from_slice(&seed.to_be_bytes());
            let request = request(join, &NodeSecret::of(bytes));
            (request.open(join.fleet).unwrap(), request)
        };
        let (quiet, request) = ask(&other, 0);
        requests.remember(quiet.clone(), request);
        for seed in 1..100 {
            let (asking, request) = ask(&flood, seed);
            requests.remember(asking.clone(), request.clone());
            requests.remember(asking, request);
        }
        assert_eq!(requests.waiting().count(), WAITING_BY_KEY + 1);
        assert!(requests.waiting().any(|(asking, _)| *asking == quiet));
        requests.forget(quiet.device);
        assert_eq!(requests.waiting().count(), WAITING_BY_KEY);
    }
}
