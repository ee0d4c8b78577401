//! What an image is made of, and the names and numbers that follow from it.

use sha2::{Digest, Sha256};

use super::archive::Archive;

/// Raised whenever the code here makes another image of the same packages and guest files.
const RECIPE: u32 = 1;

/// What is installed beside the essential packages and apt.
pub const PACKAGES: [&str; 22] = [
    "linux-image-cloud-amd64",
    "grub-pc-bin",
    "systemd-sysv",
    "systemd-resolved",
    "systemd-timesyncd",
    "udev",
    "dbus",
    "zstd",
    "cloud-init",
    "cloud-guest-utils",
    "fdisk",
    "e2fsprogs",
    "openssh-server",
    "sudo",
    "iproute2",
    "iputils-ping",
    "netbase",
    "ca-certificates",
    "debian-archive-keyring",
    "kmod",
    "less",
    "vim-tiny",
];

/// A file of the guest that no package has.
pub struct GuestFile {
    /// Where it lies in the guest.
    pub path: &'static str,
    /// What is in it; `@UUID@` stands for the root file system's.
    pub content: &'static str,
}

/// All of them. They are there before packages other than the essential ones are.
pub const GUEST_FILES: [GuestFile; 7] = [
    GuestFile { path: "/etc/fstab", content: include_str!("guest/fstab") },
    GuestFile { path: "/boot/grub/grub.cfg", content: include_str!("guest/grub.cfg") },
    GuestFile { path: "/boot/grub/load.cfg", content: include_str!("guest/load.cfg") },
    GuestFile { path: "/etc/cloud/cloud.cfg.d/90-rhyzome.cfg", content: include_str!("guest/cloud.cfg") },
    GuestFile { path: "/etc/systemd/network/50-rhyzome.network", content: include_str!("guest/dhcp.network") },
    GuestFile { path: "/etc/initramfs-tools/conf.d/rhyzome", content: include_str!("guest/initramfs.conf") },
    GuestFile { path: "/usr/share/initramfs-tools/modules.d/rhyzome", content: include_str!("guest/modules") },
];

/// What is done once the packages are there, as a script of sh(1) whose first argument is the guest's root.
pub const FINISH: &str = include_str!("guest/finish.sh");

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Release {
    /// What people call it, and the image.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "debian-12",
            Self::Trixie => "debian-13",
        }
    }

    /// What its archive calls it.
    pub fn suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// All that an image follows from, the packages' versions left aside.
pub struct Recipe {
    release: Release,
    archive: Archive,
}

impl Recipe {
    /// The recipe for a release from an archive.
    pub fn new(release: Release, archive: Archive) -> Self {
        Self { release, archive }
    }

    /// Which Debian.
    pub fn release(&self) -> Release {
        self.release
    }

    /// Where packages come from.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The guest's lines of sources.list(5).
    pub fn sources(&self) -> Vec<String> {
        let suite = self.release.suite();
        let main = self.archive.main.url();
        let security = self.archive.security.iter();
        [format!("deb {main} {suite} main"), format!("deb {main} {suite}-updates main")]
            .into_iter()
            .chain(security.map(|mirror| format!("deb {} {suite}-security main", mirror.url())))
            .collect()
    }

    /// A guest file's content, or another text, for this image.
    pub fn filled_in(&self, text: &str) -> String {
        text.replace("@UUID@", &self.uuid("root"))
    }

    /// A UUID of version 8 (RFC 9562) that is the same whenever the same image is built.
    pub fn uuid(&self, of: &str) -> String {
        let mut bytes: [u8; 32] = Sha256::new().chain_update(self.digest()).chain_update(of).finalize().into();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = data_encoding::HEXLOWER.encode(&bytes[..16]);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Names the image.
    pub fn short_digest(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.digest()[..8])
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut take = |part: &str| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        take(&RECIPE.to_string());
        self.sources().iter().for_each(|line| take(line));
        PACKAGES.iter().for_each(|package| take(package));
        for file in &GUEST_FILES {
            take(file.path);
            take(file.content);
        }
        take(FINISH);
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(release: Release, mirror: &str) -> Recipe {
        Recipe::new(release, Archive::of_mirror(mirror.parse().unwrap()))
    }

    #[test]
    fn the_guest_is_told_where_packages_come_from() {
        let lines = [
            "deb https://a.example/debian trixie main",
            "deb https://a.example/debian trixie-updates main",
            "deb https://a.example/debian-security trixie-security main",
        ];
        assert_eq!(recipe(Release::Trixie, "https://a.example/debian").sources(), lines);
    }

    #[test]
    fn another_recipe_is_another_image() {
        let one = recipe(Release::Bookworm, "https://a.example/debian");
        let same = recipe(Release::Bookworm, "https://a.example/debian/");
        assert_eq!((one.short_digest(), one.uuid("root")), (same.short_digest(), same.uuid("root")));
        assert_ne!(one.uuid("root"), one.uuid("disk"));
        for other in
            [recipe(Release::Trixie, "https://a.example/debian"), recipe(Release::Bookworm, "https://b.example/debian")]
        {
            assert_ne!(one.short_digest(), other.short_digest());
        }
    }

    #[test]
    fn every_place_for_the_uuid_is_filled_in() {
        let recipe = recipe(Release::Bookworm, "https://a.example/debian");
        for file in GUEST_FILES {
            assert!(!recipe.filled_in(file.content).contains('@'), "{}", file.path);
        }
    }
}
