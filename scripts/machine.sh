# What ./run and ./test need of the machine: packages, Rust, and a way to say where they are.

packages=(
    ca-certificates curl gcc libc6-dev pkg-config xz-utils binutils
    qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients libvirt-dev
    dnsmasq-base nftables iproute2 wireguard-go wireguard-tools procps util-linux jq
    openssh-client openssl busybox-static dropbear-bin cpio genisoimage iputils-ping
)
# What else the tests need: the tools that build a Debian image, PostgreSQL, and a place for schemathesis.
test_packages=(mmdebstrap fdisk e2fsprogs postgresql python3-venv)
# Servers that tests start themselves, and that must not start with their packages.
quiet_packages=(miniupnpd-nftables miniupnpc conntrack knot bind9 bind9-dnsutils)
rustup_home=${CARGO_HOME:-${HOME:-/root}/.cargo}
PATH=$rustup_home/bin:$PATH

stage=
stage_log=

# Ends the stage before and begins one, whose log is named if it fails.
stage() {
    [ -z "$stage" ] || stage_done
    stage=$1
    stage_log=$2
    stage_began=$SECONDS
    trap on_failure EXIT
    printf '==> %s\n' "$stage"
}

stage_done() {
    printf '    %d s\n' $((SECONDS - stage_began))
    stage=
    trap - EXIT
}

# Installs the packages that are missing. Where systemd runs, Debian starts libvirtd with its package.
install_packages() {
    local missing=()
    for package in "${packages[@]}" "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || { echo "needs Debian 12 or 13, or these packages: ${missing[*]}" >&2; return 1; }
    echo "    packages: ${missing[*]}"
    quietly apt-get update
    quietly apt_install "${missing[@]}" || quietly apt_install_with_qemu "${missing[@]}"
}

# Installs packages whose servers stay down, also after the next start of the machine.
install_quiet_packages() {
    local policy=/usr/sbin/policy-rc.d made=
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1; }
    local status=0
    install_packages "${quiet_packages[@]}" || status=$?
    [ -z "$made" ] || rm -f "$policy"
    ! command -v systemctl >/dev/null || quietly systemctl disable --now miniupnpd knot named || true
    return "$status"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# QEMU's packages want each other in one version; where some came from elsewhere (backports), all take the one version
# that qemu-system-x86 can have.
apt_install_with_qemu() {
    local version
    version=$(apt-cache policy qemu-system-x86 | sed -n 's/^  Candidate: //p')
    local pinned=()
    for package in $(dpkg-query -W -f '${Package} ${Status}\n' 'qemu-*' | sed -n 's/ install ok installed$//p') "$@"; do
        case $package in
            qemu-*) pinned+=("$package=$version") ;;
            *) pinned+=("$package") ;;
        esac
    done
    apt_install --allow-downgrades "${pinned[@]}"
}

# Installs Rust where there is none, or none that is new enough for this workspace.
install_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(cargo --version 2>/dev/null | cut -d ' ' -f 2 || true)
    [ "$(printf '%s\n' "$wanted" "${have:-0}" | sort -V | head -n 1)" = "$wanted" ] && return
    echo "    Rust $wanted or newer, by rustup (here: ${have:-none})"
    if ! command -v rustup >/dev/null; then
        quietly apt_install rustup || quietly sh -c \
            'curl --proto "=https" --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --no-modify-path --profile minimal'
    fi
    quietly rustup toolchain install stable --profile minimal
    quietly rustup default stable
}

# Runs a command whose output is only of interest when it fails.
quietly() {
    "$@" >>"$log" 2>&1
}

# Where cargo puts what it builds.
cargo_target() {
    cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}
