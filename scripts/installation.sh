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

# The home directory of a guest user: somebody who has a token and may do nothing on this machine.
visitor=$data/visitor

# Runs a command as that user.
as_visitor() {
    local nobody=65534
    setpriv --reuid $nobody --regid $nobody --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
        env -i HOME="$visitor" PATH=/usr/bin:/bin "$@"
}

# Gives the visitor a key for SSH, and a token that can look and enter networks.
welcome_visitor() {
    [ -e "$visitor/.ssh/id_ed25519" ] && return
    local token=$data/secrets/visitor-token
    mkdir -p "$visitor"
    chmod 0700 "$visitor"
    [ -e "$token" ] || "$bin/rhyzome" admin token create --config "$data/rhyzome.json" --tenant local --name visitor \
        --scope '*:read' --scope 'peer:*' --output "$token"
    cp "$data/ca/ca.pem" "$token" "$visitor/"
    chown -R 65534:65534 "$visitor"
    as_visitor "$bin/rhyzomectl" login --url "$(jq -r .url "$data/rhyzomectl.json")" \
        --ca "$visitor/ca.pem" --token-file "$visitor/visitor-token"
    as_visitor mkdir -p -m 0700 "$visitor/.ssh"
    as_visitor ssh-keygen -q -t ed25519 -N '' -f "$visitor/.ssh/id_ed25519"
}

# The options that let root and the visitor log in.
login_keys() {
    local key
    for key in "$visitor"/.ssh/id_*.pub ~/.ssh/id_*.pub; do
        [ -e "$key" ] && printf -- '--ssh-key %s ' "$key"
    done
}
