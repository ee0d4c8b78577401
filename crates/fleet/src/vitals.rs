//! Twelve bytes that say how a device is, in every ask.

/// How a device is. Numbers that do not fit say as much as fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// How often it has started. It never goes back, unless there are two of it.
    pub boots: u16,
    /// Minutes since it started; 24 bits.
    pub uptime: u32,
    /// The load of the last minute, in sixteenths.
    pub load: u8,
    /// Memory that is free, in percent.
    pub memory: u8,
    /// Flash that is free, in percent.
    pub flash: u8,
    /// Wireless clients.
    pub clients: u16,
    /// What else there is to say.
    pub flags: Flags,
}

/// What a device says with one bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// A change is being applied and waits for an answer.
    pub const APPLYING: Self = Self(1);
    /// The last change was rolled back.
    pub const REVERTED: Self = Self(1 << 1);
    /// Somebody else has changed what the fleet manages.
    pub const DRIFTED: Self = Self(1 << 2);
    /// A technician has paused the device.
    pub const PAUSED: Self = Self(1 << 3);
    /// It holds proof of a fork, and applies nothing.
    pub const FORK: Self = Self(1 << 4);
    /// Its flash is full.
    pub const FULL: Self = Self(1 << 5);

    /// These as well.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `others` are up.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl Vitals {
    /// How many bytes they take.
    pub const LENGTH: usize = 12;

    /// Writes them, big-endian.
    pub fn print(&self) -> [u8; Self::LENGTH] {
        let [boots_high, boots_low] = self.boots.to_be_bytes();
        let [_, up_high, up_middle, up_low] = self.uptime.min(0x00ff_ffff).to_be_bytes();
        let [clients_high, clients_low] = self.clients.to_be_bytes();
        let [flags_high, flags_low] = self.flags.0.to_be_bytes();
        [
            boots_high,
            boots_low,
            up_high,
            up_middle,
            up_low,
            self.load,
            self.memory,
            self.flash,
            clients_high,
            clients_low,
            flags_high,
            flags_low,
        ]
    }

    /// Reads them: any twelve bytes are some.
    pub fn parse(bytes: &[u8; Self::LENGTH]) -> Self {
        let [b0, b1, u0, u1, u2, load, memory, flash, c0, c1, f0, f1] = *bytes;
        Self {
            boots: u16::from_be_bytes([b0, b1]),
            uptime: u32::from_be_bytes([0, u0, u1, u2]),
            load,
            memory,
            flash,
            clients: u16::from_be_bytes([c0, c1]),
            flags: Flags(u16::from_be_bytes([f0, f1])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_bytes_say_it_all() {
        let vitals = Vitals {
            boots: 300,
            uptime: 70_000,
            load: 18,
            memory: 40,
            flash: 7,
            clients: 513,
            flags: Flags::DRIFTED.with(Flags::PAUSED),
        };
        assert_eq!(Vitals::parse(&vitals.print()), vitals);
        assert!(vitals.flags.contains(Flags::PAUSED) && !vitals.flags.contains(Flags::FORK));
        let old = Vitals { uptime: u32::MAX, ..vitals };
        assert_eq!(Vitals::parse(&old.print()).uptime, 0x00ff_ffff);
    }
}
