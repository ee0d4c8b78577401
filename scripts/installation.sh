# What ./run asks of an installation that is up.

ctl() {
    "$bin/rhyzomectl" --config "$data/rhyzomectl.json" "$@"
}

# One value of a resource, as in: field instance hello .status.address
field() {
    ctl "$1" get "$2" -o json | jq -er "$3"
}

# Whether the guest of hello has reported.
booted() {
    field instance hello .status.guest >/dev/null 2>&1
}

# Ends the processes that hold tunnels for `rhyzomectl ssh`, where their home is below the given folder.
end_holders() {
    local pid
    for pid in $(pgrep -x rhyzomectl); do
        [ "$(readlink "/proc/$pid/exe")" = "$bin/rhyzomectl" ] && kill "$pid"
    done
    return 0
}
