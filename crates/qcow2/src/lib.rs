//! The header of a qcow2 image, read by us before any other program touches the file.
//!
//! Source: docs/interop/qcow2.rst of QEMU. An image is safe to clone from when it refers to nothing outside of itself
//! and holds nothing but one disk: a backing file or an external data file would let whoever made the image read files
//! of the host. Pure: bytes in, a verdict out.
#![cfg_attr(test, allow(clippy::unwrap_used))]

/// How many bytes of the file [`Header::read`] wants to see; a shorter file is given whole.
pub const HEADER_BYTES: usize = 4096;

const MAGIC: &[u8; 4] = b"QFI\xfb";
/// Incompatible features that are harmless: the dirty bit and extended L2 entries.
const KNOWN_INCOMPATIBLE: u64 = 1 | 1 << 3 | 1 << 4;
const EXTERNAL_DATA: u64 = 1 << 2;
const CORRUPT: u64 = 1 << 1;
/// The longest table of tables that QEMU opens (QCOW_MAX_L1_SIZE), in bytes.
const LONGEST_L1: u64 = 32 << 20;
/// The longest table of reference counts that QEMU opens (QCOW_MAX_REFTABLE_SIZE), in bytes.
const LONGEST_REFCOUNTS: u64 = 8 << 20;
/// The largest disk that is taken; a small file can promise any size.
const LARGEST_DISK: u64 = 64 << 40;
/// The only way of compression that every QEMU knows, and one that newer ones know.
const COMPRESSIONS: [u8; 2] = [0, 1];
/// Header extensions that name other files (backing format, external data file).
const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE: u32 = 0x4441_5441;

/// Why an image is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// The file does not begin as qcow2 does.
    #[error("it is no qcow2 image (the first bytes are not QFI\\xfb)")]
    NotQcow2,
    /// The header breaks off or contradicts itself.
    #[error("its header is broken: {0}")]
    Broken(&'static str),
    /// A version that this release does not know.
    #[error("it has version {0} of qcow2, expected 2 or 3")]
    Version(u32),
    /// It refers to another image.
    #[error("it has a backing file: flatten it with qemu-img convert")]
    BackingFile,
    /// Its data lies in another file.
    #[error("its data lies in an external file: convert it with qemu-img convert")]
    DataFile,
    /// It is encrypted.
    #[error("it is encrypted: convert it to a plain one")]
    Encrypted,
    /// It holds internal snapshots.
    #[error("it holds {0} internal snapshots: delete them, or convert it with qemu-img convert")]
    Snapshots(u32),
    /// It is marked as corrupt.
    #[error("it is marked as corrupt: repair it with qemu-img check -r")]
    Corrupt,
    /// It promises a disk that nobody has.
    #[error("its disk has {0} bytes, expected {LARGEST_DISK} at most")]
    TooLarge(u64),
    /// It needs features that this release does not know.
    #[error("it needs features that are not known (incompatible bits {0:#x})")]
    Features(u64),
}

/// What matters of a safe image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The size of the disk in bytes.
    pub virtual_size: u64,
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u32(&self, at: usize) -> Result<u32, Unsafe> {
        let bytes = self.0.get(at..at + 4).ok_or(Unsafe::Broken("it ends within the header"))?;
        Ok(u32::from_be_bytes(bytes.try_into().map_err(|_| Unsafe::Broken("it ends within the header"))?))
    }

    fn u64(&self, at: usize) -> Result<u64, Unsafe> {
        Ok(u64::from(self.u32(at)?) << 32 | u64::from(self.u32(at + 4)?))
    }
}

impl Header {
    /// Judges an image by the first [`HEADER_BYTES`] of its file, whatever the file's size is.
    pub fn read(start: &[u8]) -> Result<Self, Unsafe> {
        Self::read_of(start, u64::MAX)
    }

    /// The same for a file of `file_size` bytes, which its tables must lie in.
    pub fn read_of(start: &[u8], file_size: u64) -> Result<Self, Unsafe> {
        if start.get(..4) != Some(MAGIC) {
            return Err(Unsafe::NotQcow2);
        }
        let bytes = Bytes(start);
        let version = bytes.u32(4)?;
        if version != 2 && version != 3 {
            return Err(Unsafe::Version(version));
        }
        if bytes.u64(8)? != 0 || bytes.u32(16)? != 0 {
            return Err(Unsafe::BackingFile);
        }
        let cluster_bits = bytes.u32(20)?;
        if !(9..=21).contains(&cluster_bits) {
            return Err(Unsafe::Broken("the size of a cluster is out of bounds"));
        }
        let virtual_size = bytes.u64(24)?;
        if bytes.u32(32)? != 0 {
            return Err(Unsafe::Encrypted);
        }
        let snapshots = bytes.u32(60)?;
        if snapshots != 0 {
            return Err(Unsafe::Snapshots(snapshots));
        }
        check_tables(&bytes, 1 << cluster_bits, file_size)?;
        if version == 3 {
            if bytes.u32(96)? > 6 {
                return Err(Unsafe::Broken("the width of its reference counts is out of bounds"));
            }
            check_features(bytes.u64(72)?)?;
            let length = bytes.u32(100)?;
            if !(104..=1024).contains(&length) || length % 8 != 0 {
                return Err(Unsafe::Broken("the length of the header is out of bounds"));
            }
            if length > 104 && start.get(104).is_none_or(|way| !COMPRESSIONS.contains(way)) {
                return Err(Unsafe::Broken("its way of compression is not known"));
            }
            check_extensions(&bytes, length as usize)?;
        } else {
            check_extensions(&bytes, 72)?;
        }
        match virtual_size {
            0 => Err(Unsafe::Broken("the disk has no size")),
            size if size > LARGEST_DISK => Err(Unsafe::TooLarge(size)),
            size => Ok(Self { virtual_size: size }),
        }
    }
}

/// The two tables that everything else hangs on begin at a cluster and lie within the file.
fn check_tables(bytes: &Bytes<'_>, cluster: u64, file_size: u64) -> Result<(), Unsafe> {
    let l1 = (bytes.u64(40)?, u64::from(bytes.u32(36)?) * 8);
    let refcounts = (bytes.u64(48)?, u64::from(bytes.u32(56)?) * cluster);
    if l1.1 > LONGEST_L1 {
        return Err(Unsafe::Broken("its L1 table is too long"));
    }
    if refcounts.1 > LONGEST_REFCOUNTS {
        return Err(Unsafe::Broken("its table of reference counts is too long"));
    }
    // The last cluster of a file may be cut short.
    let end = file_size.checked_next_multiple_of(cluster).unwrap_or(u64::MAX);
    let within = |(offset, length): (u64, u64)| {
        offset % cluster == 0 && offset.checked_add(length).is_some_and(|last| last <= end)
    };
    if !within(l1) {
        return Err(Unsafe::Broken("its L1 table lies outside of the file"));
    }
    if !within(refcounts) {
        return Err(Unsafe::Broken("its table of reference counts lies outside of the file"));
    }
    Ok(())
}

fn check_features(incompatible: u64) -> Result<(), Unsafe> {
    if incompatible & EXTERNAL_DATA != 0 {
        return Err(Unsafe::DataFile);
    }
    if incompatible & CORRUPT != 0 {
        return Err(Unsafe::Corrupt);
    }
    match incompatible & !KNOWN_INCOMPATIBLE {
        0 => Ok(()),
        unknown => Err(Unsafe::Features(unknown)),
    }
}

fn check_extensions(bytes: &Bytes<'_>, mut at: usize) -> Result<(), Unsafe> {
    loop {
        if at + 8 > HEADER_BYTES {
            return Err(Unsafe::Broken("its header extensions do not end"));
        }
        // Version 2 files may end their header without the mark.
        if bytes.0.len() < at + 8 {
            return Ok(());
        }
        let length = bytes.u32(at + 4)? as usize;
        match bytes.u32(at)? {
            0 => return Ok(()),
            BACKING_FORMAT => return Err(Unsafe::BackingFile),
            DATA_FILE => return Err(Unsafe::DataFile),
            _ if length > HEADER_BYTES => return Err(Unsafe::Broken("a header extension is too long")),
            _ => at += 8 + length.next_multiple_of(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of an image as `qemu-img create -f qcow2 x 64M` makes it.
    fn plain() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        put32(&mut bytes, 4, 3);
        put32(&mut bytes, 20, 16);
        put32(&mut bytes, 28, 64 << 20);
        put32(&mut bytes, 100, 112);
        bytes
    }

    fn put32(bytes: &mut [u8], at: usize, value: u32) {
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    fn changed(at: usize, value: u32) -> Result<Header, Unsafe> {
        let mut bytes = plain();
        put32(&mut bytes, at, value);
        Header::read_of(&bytes, 4 << 16)
    }

    #[test]
    fn a_plain_image_is_safe() {
        assert_eq!(Header::read(&plain()), Ok(Header { virtual_size: 64 << 20 }));
    }

    #[test]
    fn what_reaches_outside_is_refused() {
        assert_eq!(changed(12, 4096), Err(Unsafe::BackingFile));
        assert_eq!(changed(16, 11), Err(Unsafe::BackingFile));
        assert_eq!(changed(76, 1 << 2), Err(Unsafe::DataFile));
        assert_eq!(changed(112, DATA_FILE), Err(Unsafe::DataFile));
        assert_eq!(changed(112, BACKING_FORMAT), Err(Unsafe::BackingFile));
    }

    #[test]
    fn what_is_more_than_one_plain_disk_is_refused() {
        assert_eq!(changed(32, 2), Err(Unsafe::Encrypted));
        assert_eq!(changed(60, 1), Err(Unsafe::Snapshots(1)));
        assert_eq!(changed(76, 1 << 9), Err(Unsafe::Features(1 << 9)));
        assert_eq!(changed(76, 2), Err(Unsafe::Corrupt));
        assert_eq!(changed(28, 0), Err(Unsafe::Broken("the disk has no size")));
        assert_eq!(changed(4, 1), Err(Unsafe::Version(1)));
        assert_eq!(Header::read(b"raw disk"), Err(Unsafe::NotQcow2));
    }

    #[test]
    fn tables_that_are_not_in_the_file_are_refused() {
        let outside = |what: &'static str| Err(Unsafe::Broken(what));
        assert!(changed(44, 3 << 16).is_ok());
        assert_eq!(changed(44, 5 << 16), outside("its L1 table lies outside of the file"));
        assert_eq!(changed(44, 100), outside("its L1 table lies outside of the file"));
        assert_eq!(changed(40, u32::MAX), outside("its L1 table lies outside of the file"));
        assert_eq!(changed(36, 65_536), outside("its L1 table lies outside of the file"));
        assert_eq!(changed(36, u32::MAX), outside("its L1 table is too long"));
        assert_eq!(changed(52, 5 << 16), outside("its table of reference counts lies outside of the file"));
        assert_eq!(changed(56, 5), outside("its table of reference counts lies outside of the file"));
        assert_eq!(changed(56, u32::MAX), outside("its table of reference counts is too long"));
        assert_eq!(changed(96, 7), outside("the width of its reference counts is out of bounds"));
    }

    #[test]
    fn a_small_file_that_promises_a_huge_disk_is_refused() {
        assert_eq!(changed(24, 1 << 20), Err(Unsafe::TooLarge((1 << 52) + (64 << 20))));
    }

    #[test]
    fn no_cut_of_a_header_is_a_panic() {
        let bytes = plain();
        for end in 0..128 {
            let _ = Header::read_of(&bytes[..end], end as u64);
        }
        for at in 0..128 {
            for value in [0, 1, u32::MAX] {
                let _ = changed(at, value);
            }
        }
    }
}
