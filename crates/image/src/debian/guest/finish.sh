# Makes the boot loader, enables what the guest starts with, and removes what must differ between guests.
set -eu
root=$1
guest() { chroot "$root" "$@"; }

grub=/usr/lib/grub/i386-pc
guest grub-mkimage --format i386-pc --output /boot/grub/core.img --config /boot/grub/load.cfg \
    --prefix '(hd0,gpt1)/boot/grub' biosdisk part_gpt ext2 search_fs_uuid linux normal
cp "$root$grub/boot.img" "$root/boot/grub/boot.img"

guest systemctl enable systemd-networkd.service systemd-resolved.service
# The first hour of a guest is its user's: no downloads and no checks that nobody asked for.
guest systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

rm -f "$root"/etc/ssh/ssh_host_*
rm -rf "$root/var/lib/cloud" "$root"/var/log/*.log "$root"/var/cache/debconf/*-old
: >"$root/etc/machine-id"
