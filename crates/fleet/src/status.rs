//! What a device says of itself: the status that its master keeps, the latest one of each device.

mod said;

use crate::cbor::{self, BytesError, Cbor, Reader, Writer};

pub use said::Said;

/// The longest status, in bytes.
pub const LONGEST: usize = 14 << 10;

/// A structure that is an array in CBOR, in the order of its fields.
macro_rules! record {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Cbor for $name {
            fn write(&self, out: &mut Writer) {
                out.array([$(stringify!($field)),*].len());
                $(self.$field.write(out);)*
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, BytesError> {
                input.array_of([$(stringify!($field)),*].len(), stringify!($name))?;
                Ok(Self { $($field: Cbor::read(input)?,)* })
            }
        }
    )*};
}

record! {
    /// What a device says of itself.
    Status {
        /// What it is.
        board: Board,
        /// Seconds since it started.
        uptime: u64,
        /// The load of the last 1, 5 and 15 minutes, in hundredths.
        load: Vec<u32>,
        /// Memory, in KiB.
        memory: Space,
        /// Flash, in KiB.
        flash: Space,
        /// Interfaces.
        interfaces: Vec<Interface>,
        /// Radios.
        radios: Vec<RadioStatus>,
        /// Wireless clients.
        clients: Vec<Client>,
        /// DHCP leases.
        leases: Vec<Lease>,
        /// The checkpoint whose configuration was applied last, or could not be.
        applied: u64,
        /// What became of its sections.
        results: Vec<SectionResult>,
        /// What its actions came to.
        actions: Vec<SectionResult>,
        /// What is not as asked.
        drift: Vec<String>,
        /// What else should be known.
        remarks: Vec<String>,
        /// How many clients, leases, remarks and so on were left out, as the status would have been too long.
        left_out: u32,
    }
    /// What a device is.
    Board {
        /// What it calls itself.
        hostname: String,
        /// The model.
        model: String,
        /// The board, as `board_name` has it.
        board: String,
        /// The firmware: distribution, version and revision.
        release: String,
        /// What the firmware was built for.
        target: String,
        /// The kernel.
        kernel: String,
    }
    /// Something of which there is so much.
    Space {
        /// How much.
        total: u64,
        /// How much of it is free.
        free: u64,
    }
    /// An interface.
    Interface {
        /// Its name.
        name: String,
        /// Whether it is up.
        is_up: bool,
        /// Its device.
        device: String,
        /// Its protocol.
        proto: String,
        /// Its addresses, with the length of the prefix.
        addresses: Vec<String>,
        /// Seconds since it is up.
        uptime: u64,
        /// What is wrong with it.
        errors: Vec<String>,
    }
    /// A radio.
    RadioStatus {
        /// Its section.
        name: String,
        /// Whether it is up.
        is_up: bool,
        /// Its band.
        band: String,
        /// Its channel, 0 where that is not known.
        channel: u32,
        /// Its networks: names of devices, with their SSID.
        networks: Vec<String>,
    }
    /// A wireless client.
    Client {
        /// Its address.
        mac: String,
        /// The device that it is connected to.
        device: String,
        /// The strength at which it is heard, in negative dBm; 0 where that is not known.
        signal: u32,
    }
    /// A DHCP lease.
    Lease {
        /// The address of the host's card.
        mac: String,
        /// The host's address.
        address: String,
        /// What the host calls itself.
        name: String,
        /// Seconds until it ends.
        expires: u64,
    }
    /// What became of a section.
    SectionResult {
        /// The section.
        section: String,
        /// The change by which it stands there: the first 16 digits of its id.
        change: String,
        /// `applied`, or `rejected: ` or `reverted: ` and the reason; of an action, `done: ` or `failed: ` and what it said.
        outcome: String,
    }
}

impl Status {
    /// The status without what every reading has otherwise: another one of it is worth telling of.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        (lasting.uptime, lasting.load) = (0, Vec::new());
        (lasting.memory.free, lasting.flash.free) = (0, 0);
        lasting.interfaces.iter_mut().for_each(|interface| interface.uptime = 0);
        lasting.clients.iter_mut().for_each(|client| client.signal = 0);
        lasting.leases.iter_mut().for_each(|lease| lease.expires = 0);
        lasting
    }

    /// The same, and without who comes and goes: another one of it is to be told at once.
    #[must_use]
    pub fn essence(&self) -> Self {
        Self { clients: Vec::new(), leases: Vec::new(), ..self.lasting() }
    }

    /// The status as bytes. What makes it too long is left out and counted: leases and clients first, then what is said of
    /// sections and everything else.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut short = self.clone();
        loop {
            let bytes = cbor::to_bytes(&short);
            if bytes.len() <= LONGEST {
                return bytes;
            }
            let left = if halve(&mut short.leases) + halve(&mut short.clients) > 0 {
                self.leases.len() - short.leases.len() + self.clients.len() - short.clients.len()
            } else if halve(&mut short.remarks) + halve(&mut short.drift) + halve(&mut short.actions) > 0
                || halve(&mut short.results) + halve(&mut short.interfaces) > 0
            {
                usize::try_from(short.left_out).unwrap_or(0) + 1
            } else {
                // Texts that are too long by themselves.
                short = Self { left_out: u32::MAX, ..Self::default() };
                continue;
            };
            short.left_out = u32::try_from(left).unwrap_or(u32::MAX);
        }
    }

    /// Reads what a device sent.
    ///
    /// # Errors
    /// Says where and what was expected.
    pub fn decode(bytes: &[u8]) -> Result<Self, BytesError> {
        cbor::from_bytes(bytes, LONGEST)
    }
}

/// Leaves the second half of a list out, and says how much that was.
fn halve<T>(list: &mut Vec<T>) -> usize {
    let length = list.len();
    list.truncate(length / 2);
    length - list.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(leases: usize) -> Status {
        let lease = Lease { mac: "52:54:00:00:00:01".into(), address: "10.0.0.7".into(), ..Lease::default() };
        let board = Board { hostname: "attic".into(), ..Board::default() };
        let client = Client { mac: "52:54:00:00:00:01".into(), device: "phy0-ap0".into(), signal: 61 };
        Status {
            board,
            load: vec![12, 7, 5],
            leases: vec![lease; leases],
            clients: vec![client; 3],
            ..Status::default()
        }
    }

    #[test]
    fn a_status_is_read_as_it_was_written() {
        let status = status(2);
        assert_eq!(Status::decode(&status.encode()), Ok(status));
    }

    #[test]
    fn a_status_that_is_too_long_says_what_it_left_out() {
        let long = status(2000);
        let bytes = long.encode();
        assert!(bytes.len() <= LONGEST);
        let read = Status::decode(&bytes).unwrap();
        assert_eq!(read.board, long.board);
        assert_eq!(read.left_out as usize + read.leases.len() + read.clients.len(), 2003);
        let mut endless = status(0);
        endless.board.model = "x".repeat(100_000);
        assert!(endless.encode().len() <= LONGEST);
    }

    #[test]
    fn what_every_reading_has_otherwise_is_not_worth_telling() {
        let before = status(2);
        let mut after = before.clone();
        (after.uptime, after.load) = (77, vec![1, 2, 3]);
        after.leases.iter_mut().for_each(|lease| lease.expires = 9);
        assert_eq!(after.lasting(), before.lasting());
        after.leases.truncate(1);
        assert_ne!(after.lasting(), before.lasting());
        assert_eq!(after.essence(), before.essence());
        after.drift.push("network.lan.mtu is 1400".to_owned());
        assert_ne!(after.essence(), before.essence());
    }

    #[test]
    fn hostile_bytes_are_refused() {
        fuzz::Corpus::of([status(3).encode()]).run(|bytes| drop(Status::decode(bytes)));
    }
}
