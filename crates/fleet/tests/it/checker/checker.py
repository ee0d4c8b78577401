#!/usr/bin/env python3
"""Checks a log that `dusk export` wrote, by docs/dusk-format.md alone: a second implementation.

    checker.py FILE      prints what the log comes to as JSON, or why it is refused (status 1)
    checker.py --judge FILE     takes the records that it can, passes over others, and says which it took
    checker.py --vectors FILE   checks the vectors of the document
"""

import hashlib
import io
import json
import re
import sys

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

ALL = ["**", 127, None]
VERBS = {"put": 0, "delete": 1, "execute": 2, "approve": 3, "invite": 4, "grant": 5, "vote": 6}
NEVER = 2**64 - 1
P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P


class Refused(Exception):
    """Says why."""


def need(condition, why):
    if not condition:
        raise Refused(why)


# Bytes


def plain(value):
    if value is None or isinstance(value, (bool, bytes, str)):
        return True
    if isinstance(value, int):
        return 0 <= value <= NEVER
    return isinstance(value, list) and all(map(plain, value))


def pack(value):
    return cbor2.dumps(value)


def unpack(data, limit=16384):
    need(len(data) <= limit, "oversized")
    stream = io.BytesIO(data)
    value = read_item(stream)
    need(stream.tell() == len(data), "something follows")
    return value


def read_item(stream):
    start = stream.tell()
    try:
        value = cbor2.CBORDecoder(stream, read_size=1).decode() if NEW_CBOR2 else cbor2.CBORDecoder(stream).decode()
    except Exception as error:
        raise Refused(f"no CBOR: {error}") from error
    end = stream.tell()
    stream.seek(start)
    need(plain(value) and stream.read(end - start) == pack(value), "not in canonical form")
    return value


def takes_read_size():
    try:
        cbor2.CBORDecoder(io.BytesIO(b"\x00"), read_size=1)
        return True
    except TypeError:
        return False


NEW_CBOR2 = takes_read_size()


def shape(value, *kinds):
    """An array of exactly these: "u", "b32", "t", "o" for true or false, a function, or (kind,) for kind or null."""
    need(isinstance(value, list) and len(value) == len(kinds), f"an array of {len(kinds)} is expected")
    for item, kind in zip(value, kinds):
        check_kind(item, kind)
    return value


def check_kind(item, kind):
    if isinstance(kind, tuple):
        if item is not None:
            check_kind(item, kind[0])
    elif callable(kind):
        kind(item)
    elif kind == "u":
        need(isinstance(item, int) and not isinstance(item, bool), "a number is expected")
    elif kind == "o":
        need(isinstance(item, bool), "true or false is expected")
    elif kind == "t":
        need(isinstance(item, str), "a text is expected")
    else:
        need(isinstance(item, bytes), "bytes are expected")
        need(kind == "b" or len(item) == int(kind[1:]), f"{kind[1:]} bytes are expected")


def array_of(kind):
    def check(item):
        need(isinstance(item, list), "an array is expected")
        for one in item:
            check_kind(one, kind)

    return check


def below(limit):
    def check(item):
        check_kind(item, "u")
        need(item < limit, f"a number below {limit} is expected")

    return check


def pattern(expression, limit=128):
    compiled = re.compile(expression)

    def check(item):
        check_kind(item, "t")
        need(len(item.encode()) <= limit and compiled.fullmatch(item), f"{item!r} is no {expression}")

    return check


NAME_RE = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
SEGMENT_RE = "[A-Za-z0-9_-][A-Za-z0-9_.-]*"
name = pattern(NAME_RE)
glob = pattern(rf"(({SEGMENT_RE}|\*)/)*({SEGMENT_RE}|\*|\*\*)")
path = pattern(rf"((users|groups|policies)/{NAME_RE}|devices/[0-9a-f]{{20}})(/{SEGMENT_RE})+")


def text(limit):
    def check(item):
        check_kind(item, "t")
        need(len(item) <= limit, "a shorter text is expected")

    return check


def signed(item):
    shape(item, "b", "b64")
    need(len(item[0]) <= 16384, "oversized body")


def head_kind(item):
    shape(item, "u", "b32")


def node_key(item):
    shape(item, "b32", "b32", "b32")


def right(item):
    shape(item, glob, "u", (name,))
    need(1 <= item[1] <= 127, "a set of verbs is expected")


def H(domain, *parts):
    return hashlib.sha256(b"dusk/1/" + domain.encode() + b"\0" + b"".join(parts)).digest()


# Signatures


def recover_x(y, sign):
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - xx) % P:
        return None
    return P - x if x % 2 != sign else x


def add(one, other):
    (x1, y1), (x2, y2) = one, other
    t = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + t, P - 2, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - t, P - 2, P) % P,
    )


def is_good_point(data):
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= P:
        return False
    x = recover_x(y, sign)
    if x is None:
        return False
    point = (x, y)
    for _ in range(3):
        point = add(point, point)
    return point != (0, 1)


# The points whose order divides 8.
SMALL_ORDER = {bytes.fromhex(point) for point in (
    "01" + 31 * "00",
    "ec" + 30 * "ff" + "7f",
    32 * "00",
    31 * "00" + "80",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)}
GOOD_KEYS = {}


def good_key(key):
    if key not in GOOD_KEYS:
        GOOD_KEYS[key] = is_good_point(key)
    need(GOOD_KEYS[key], f"{key.hex()} is no key")
    return key


def verify(domain, key, item):
    good_key(key)
    # What is no point, or a second form of one, does not verify.
    need(item[1][:32] not in SMALL_ORDER, "R is of small order")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(item[1], b"dusk/1/" + domain.encode() + b"\0" + item[0])
    except InvalidSignature:
        raise Refused(f"the signature is not that of {key.hex()}") from None


def bound(item, fleet):
    signed(item)
    body = shape(unpack(item[0]), "u", ("b32",), node_key)
    verify("key", body[2][0], item)
    need(body[0] == 1 and body[1] == fleet, "keys are bound for another fleet")
    return body[2]


def device_id(key):
    return H("device", *key)[:10]


# Rights


def matches(pattern, path):
    mine, other = pattern.split("/"), path.split("/")
    for at, segment in enumerate(mine):
        if segment == "**":
            return len(other) > at
        if at >= len(other) or segment not in ("*", other[at]):
            return False
    return len(mine) == len(other)


def glob_covers(mine, other):
    mine, other = mine.split("/"), other.split("/")
    for at, segment in enumerate(mine):
        if segment == "**":
            return len(other) > at
        if at >= len(other) or other[at] == "**" or segment not in ("*", other[at]):
            return False
    return len(mine) == len(other)


def covers(one, other):
    return (
        one[1] & other[1] == other[1] and one[2] in (None, other[2]) and glob_covers(one[0], other[0])
    )


def allowed(rights, verb, path, groups):
    return any(
        right[1] >> VERBS[verb] & 1 and matches(right[0], path) and (right[2] is None or right[2] in groups)
        for right in rights
    )


# Authority


class Timeline(list):
    def at(self, position):
        value = None
        for since, held in self:
            if since <= position:
                value = held
        return value

    def last(self):
        return self[-1][1] if self else None


class Key:
    def __init__(self, holder, added, by):
        self.holder, self.added, self.by, self.ended, self.void = holder, added, by, None, NEVER

    def lived(self, position):
        return self.added <= position and (self.ended is None or position < self.ended)


class User:
    def __init__(self):
        self.key, self.rights = None, Timeline()


class Device:
    def __init__(self, name, trust):
        self.name, self.trust, self.standing = name, trust, "member"
        self.keys, self.groups = Timeline(), Timeline()


device_kind, groups_kind, trust_kind = "b10", array_of(name), below(2)
join_terms = lambda item: shape(item, "b32", (name,), below(2**32), below(2**32), array_of("t"), "o")
voter_kind = lambda item: shape(item, device_kind, below(3))
PAYLOADS = {
    1: (name, signed, array_of(right)),
    2: (name, array_of(right)),
    3: (name, signed),
    4: ("b32", "u", "u"),
    5: (signed, name, groups_kind, trust_kind, (signed,)),
    6: (device_kind, signed, trust_kind),
    7: (device_kind, name, groups_kind, trust_kind),
    8: (device_kind, "u"),
    9: (device_kind,),
    10: (array_of(voter_kind),),
    11: (join_terms,),
    12: ("b32",),
    13: (name, below(2**32), "b32"),
    14: (below(7), below(256), array_of(name)),
    15: (below(2**16), "b"),
    16: ("b32",),
    17: ("b32",),
    18: ("b32", "b32"),
    19: (below(2**32), "b32", name, signed, "u"),
}


def read_payload(kind, payload):
    if kind not in PAYLOADS:
        return None
    return shape(unpack(payload), *PAYLOADS[kind])


class Authority:
    def __init__(self, genesis):
        signed(genesis)
        body = shape(unpack(genesis[0]), "u", "b32", "t", name, signed, "b32")
        need(body[0] == 1, "another format")
        need(len(body[2].encode()) <= 64, "the fleet's name is too long")
        key = bound(body[4], None)
        verify("genesis", key[0], genesis)
        good_key(body[5])
        need(body[5] != key[0], "the recovery key is the founder's")
        self.genesis, self.log = genesis, []
        self.fleet = H("genesis", genesis[0])
        self.heads = [self.fleet]
        self.keys, self.users, self.devices, self.joins, self.seals = {}, {}, {}, {}, {}
        self.thresholds, self.proposals, self.voters = {}, {}, Timeline()
        self.recovery, self.recoveries = body[5], 0
        self.keys[key[0]] = Key(("user", body[3]), 0, key[0])
        self.keys[body[5]] = Key(("recovery", None), 0, key[0])
        founder = self.users[body[3]] = User()
        founder.key = key[0]
        founder.rights.append((0, [ALL]))

    def position(self):
        return len(self.heads) - 1

    def has(self, head):
        return head[0] < len(self.heads) and self.heads[head[0]] == head[1]

    def append(self, item):
        body = shape(unpack(item[0]), "u", "b32", "u", "b32", "o", "b32", below(2**16), "b")
        version, fleet, position, previous, critical, author, kind, payload = body
        need(version == 1, "another format")
        need(fleet == self.fleet, "for another fleet")
        values = read_payload(kind, payload)
        if kind == 19 and position <= self.position():
            need(position >= 1 and self.heads[position - 1] == previous, "a recovery of another chain")
            rewound = Authority(self.genesis)
            for earlier in self.log[: position - 1]:
                rewound.append(earlier)
            need(rewound.recoveries == self.recoveries, "it was recovered since")
            rewound.append(item)
            self.__dict__ = rewound.__dict__
            return
        need(position == self.position() + 1 and previous == self.heads[-1], "out of order")
        verify("entry", author, item)
        self.check(critical, author, kind, values)
        entry = H("entry", item[0])
        self.heads.append(entry)
        self.log.append(item)
        self.hold(entry, author, kind, values)

    # Who may say it

    def live(self, key):
        need(key in self.keys, "an unknown key")
        need(self.keys[key].ended is None, "a key that ended")
        return self.keys[key]

    def rights_at(self, key, position):
        record = self.keys.get(key)
        if record is None or not record.lived(position) or record.holder[0] != "user":
            return []
        return self.users[record.holder[1]].rights.at(position) or []

    def user_of(self, key):
        record = self.keys.get(key)
        return record.holder[1] if record and record.ended is None and record.holder[0] == "user" else None

    def check(self, critical, author, kind, values):
        if kind == 19 or author == self.recovery:
            return self.check_recovery(author, kind, values)
        holder, who = self.live(author).holder
        need(holder in ("user", "device"), "no key that says anything")
        if holder == "device":
            return self.check_device(author, who, kind, values)
        if values is None:
            return need(not critical, "upgrade")
        if kind == 15:
            inner = read_payload(values[0], values[1])
            need(inner is not None and values[0] not in (15, 16, 17, 19), "nested")
            self.check_statement(author, values[0], inner)
            need(self.threshold(author, values[0], inner) is not None, "nobody else need agree")
            return need(len(self.proposals) < 64, "too many proposals")
        if kind in (16, 17):
            need(values[0] in self.proposals, "no such proposal")
            proposer, inner_kind, inner, agreed = self.proposals[values[0]]
            if kind == 17 and proposer == author:
                return None
            need(kind == 17 or who not in agreed, "agreed before")
            self.check_right(author, inner_kind, inner)
            threshold = self.threshold(author, inner_kind, inner)
            need(threshold is None or who in threshold[1], "not asked")
            if kind == 16 and self.enough(values[0], who):
                self.check_statement(proposer, inner_kind, inner)
            return None
        self.check_statement(author, kind, values)
        threshold = self.threshold(author, kind, values)
        return need(threshold is None or threshold[0] <= 1 and who in threshold[1], "others must agree")

    def check_recovery(self, author, kind, values):
        need(kind == 19 and author == self.recovery, "no recovery")
        generation, following, _, key, _ = values
        need(generation == self.recoveries + 1, "not the next recovery")
        self.fresh(following)
        need(self.fresh_binding(key)[0] != following, "one key for two")

    def threshold(self, author, kind, values):
        if kind == 14:
            return self.thresholds.get(values[0], self.thresholds.get(VERBS["grant"]))
        if self.on_oneself(author, kind, values):
            return None
        return self.thresholds.get(VERBS[self.needs(kind, values)[0]])

    def enough(self, proposal, who):
        proposer, kind, values, agreed = self.proposals[proposal]
        threshold = self.threshold(proposer, kind, values)
        if threshold is None:
            return True
        count = 0
        for user in agreed | {who}:
            key = self.users[user].key if user in self.users else None
            if key is None or user not in threshold[1]:
                continue
            try:
                self.check_right(key, kind, values)
                count += 1
            except Refused:
                pass
        return count >= threshold[0]

    def on_oneself(self, author, kind, values):
        return kind == 3 and self.user_of(author) == values[0] or kind == 4 and values[0] == author

    def groups_of(self, device, position=None):
        if device not in self.devices:
            return []
        groups = self.devices[device].groups
        return (groups.last() if position is None else groups.at(position)) or []

    def needs(self, kind, values):
        if kind in (1, 2, 3):
            return "grant", f"users/{values[0]}/record", []
        if kind == 4:
            record = self.keys.get(values[0])
            user = record.holder[1] if record and record.holder[0] == "user" else "nobody"
            return "grant", f"users/{user}/record", []
        if kind == 5:
            key = shape(unpack(values[0][0]), "u", ("b32",), node_key)[2]
            return "approve", f"devices/{device_id(key).hex()}/record", values[2]
        if kind in (6, 7, 8, 9):
            groups = self.groups_of(values[0]) + (values[2] if kind == 7 else [])
            return "approve", f"devices/{values[0].hex()}/record", groups
        if kind in (10, 18):
            return "vote", "policies/fleet/voters", []
        if kind in (11, 12):
            terms = values[0] if kind == 11 else self.joins.get(values[0], (None, 0))[0]
            group = terms[1] if terms else None
            return ("invite", f"groups/{group}/join", [group]) if group else ("invite", "policies/fleet/join", [])
        if kind == 13:
            return "approve", f"groups/{values[0]}/key", [values[0]]
        if kind == 14:
            return "grant", "policies/fleet/threshold", []
        return "grant", "policies/fleet/statement", []

    def check_right(self, author, kind, values):
        if self.on_oneself(author, kind, values):
            return
        verb, path, groups = self.needs(kind, values)
        rights = self.rights_at(author, self.position())
        good = all(allowed(rights, verb, path, [group]) for group in groups) if groups else allowed(rights, verb, path, [])
        need(good, f"no right {verb} on {path}")
        theirs = lambda user: (self.users[user].rights.last() or []) if user in self.users else []
        touched = []
        if kind == 1:
            touched = values[2]
        elif kind == 2:
            touched = theirs(values[0]) + values[1]
        elif kind == 3:
            touched = theirs(values[0])
        elif kind == 4:
            touched = theirs(self.user_of(values[0]))
        need(all(any(covers(mine, other) for mine in rights) for other in touched), "beyond the author's own rights")

    # Whether it makes sense

    def fresh(self, key):
        good_key(key)
        need(key not in self.keys, "a key that was used")

    def fresh_binding(self, item):
        key = bound(item, self.fleet)
        self.fresh(key[0])
        return key

    def live_user(self, user):
        need(user in self.users and self.users[user].key is not None, f"no user {user}")

    def standing(self, device, *good):
        need(device in self.devices, "no such device")
        need(self.devices[device].standing in good, f"the device is {self.devices[device].standing}")

    def free_name(self, wanted, own=None):
        for device, record in self.devices.items():
            need(record.name != wanted or record.standing == "removed" or device == own, "the name is taken")

    def newcomer(self, item, wanted):
        key = self.fresh_binding(item)
        need(device_id(key) not in self.devices, "the device is there")
        self.free_name(wanted)
        return key

    def request(self, item):
        """What a device asked; the join key and the device signed it."""
        need(len(item[0]) <= 1024, "oversized request")
        inner = shape(unpack(item[0]), "b", "b64")
        body = shape(unpack(inner[0]), "u", "b32", "b32", "b32", text(64), text(64), (name,))
        need(body[0] == 1 and body[1] == self.fleet, "a request for another fleet")
        verify("join", body[3], inner)
        verify("request", body[2], item)
        return body

    def check_request(self, item, key):
        _, _, own, join, board, mac, _ = self.request(item)
        need(own == key[0], "a request by another")
        need(join in self.joins, "no such join key")
        terms, used = self.joins[join]
        need(used < terms[2], "all uses are spent")
        need(not terms[4] or board in terms[4] or mac in terms[4], "other hardware")
        return terms

    def check_statement(self, author, kind, values):
        self.check_right(author, kind, values)
        if kind == 1:
            need(len(values[2]) <= 64, "too many rights")
            self.fresh_binding(values[1])
            need(values[0] not in self.users or self.users[values[0]].key is None, "the user is there")
        elif kind == 2:
            need(len(values[1]) <= 64, "too many rights")
            self.live_user(values[0])
        elif kind == 3:
            self.live_user(values[0])
            self.fresh_binding(values[1])
        elif kind == 4:
            need(self.live(values[0]).holder[0] == "user", "no user's key")
        elif kind == 5:
            need(len(values[2]) <= 16, "too many groups")
            key = self.newcomer(values[0], values[1])
            if values[4] is not None:
                self.check_request(values[4], key)
        elif kind == 6:
            self.standing(values[0], "member", "lost")
            self.fresh_binding(values[1])
        elif kind == 7:
            need(len(values[2]) <= 16, "too many groups")
            self.standing(values[0], "member")
            self.free_name(values[1], values[0])
        elif kind == 8:
            self.standing(values[0], "member")
        elif kind == 9:
            self.standing(values[0], "member", "lost")
        elif kind == 10:
            devices = [device for device, _ in values[0]]
            need(len(set(devices)) == len(devices) <= 7, "voters more than once, or too many")
            need(sum(role == 0 for _, role in values[0]) == 1, "one master")
            for device in devices:
                self.standing(device, "member")
        elif kind == 11:
            need(len(values[0][4]) <= 64 and len(self.joins) < 256, "too many")
            self.fresh(values[0][0])
        elif kind == 12:
            need(values[0] in self.joins, "no such join key")
        elif kind == 13:
            need(values[1] == self.seals.get(values[0], 0) + 1, "not the next key")
        elif kind == 14:
            _, needed, users = values
            need(len(users) <= 32 and len(set(users)) == len(users) >= needed, "not so many users")
            need(needed > 0 or not users, "none needed of some")
            grant = VERBS["grant"]
            if values[0] != grant:
                need(needed == 0 or grant in self.thresholds, "a threshold needs one of grant beside it")
            else:
                need(needed > 0 or not set(self.thresholds) - {grant}, "other thresholds need this one")
            for user in users:
                self.live_user(user)
        elif kind == 18:
            need(values[0] != values[1], "nothing to choose")
        else:
            raise Refused("not to be said so")

    def check_device(self, author, device, kind, values):
        need(values is not None, "a device says nothing unknown")
        if kind == 6 and values[0] == device:
            self.standing(device, "member")
            need(values[2] <= self.devices[device].trust, "more trust than it has")
            self.fresh_binding(values[1])
            return
        need(kind == 5 and values[3] == 0 and values[4] is not None, "not a device's to say")
        key = self.newcomer(values[0], values[1])
        terms = self.check_request(values[4], key)
        need(device in [voter for voter, _ in self.voters.last() or []], "no voter")
        need(terms[5] and values[2] == ([terms[1]] if terms[1] else []), "not automatic")
        need(VERBS["approve"] not in self.thresholds, "others must agree")

    # What holds then

    def add(self, item, holder, by):
        key = shape(unpack(item[0]), "u", ("b32",), node_key)[2]
        self.keys[key[0]] = Key(holder, self.position(), by)
        return key

    def end(self, key, void=NEVER):
        record = self.keys[key]
        record.ended = self.position() if record.ended is None else record.ended
        record.void = min(record.void, void)
        self.joins.pop(key, None)
        self.proposals = {entry: proposal for entry, proposal in self.proposals.items() if proposal[0] != key}
        for user in self.users.values():
            user.key = None if user.key == key else user.key

    def lose(self, device, standing, void):
        self.devices[device].standing = standing
        self.end(self.devices[device].keys.last()[0], void)

    def revoke(self, key, since, entries):
        holder = self.keys[key].holder
        if holder[0] == "device":
            self.lose(holder[1], "lost", since)
        self.end(key, since)
        for other, record in list(self.keys.items()):
            if record.by == key and record.added >= entries and record.ended is None:
                self.revoke(other, since, entries)

    def hold(self, entry, author, kind, values):
        now = self.position()
        if values is None:
            return
        if kind == 1:
            user = self.users.setdefault(values[0], User())
            user.key = self.add(values[1], ("user", values[0]), author)[0]
            user.rights.append((now, values[2]))
        elif kind == 2:
            self.users[values[0]].rights.append((now, values[1]))
        elif kind == 3:
            self.end(self.users[values[0]].key)
            self.users[values[0]].key = self.add(values[1], ("user", values[0]), author)[0]
        elif kind == 4:
            self.revoke(*values)
        elif kind == 5:
            if values[4] is not None:
                join = self.request(values[4])[3]
                self.joins[join] = (self.joins[join][0], self.joins[join][1] + 1)
            key = shape(unpack(values[0][0]), "u", ("b32",), node_key)[2]
            device = self.devices[device_id(key)] = Device(values[1], values[3])
            self.add(values[0], ("device", device_id(key)), author)
            device.keys.append((now, key))
            device.groups.append((now, values[2]))
        elif kind == 6:
            device = self.devices[values[0]]
            self.end(device.keys.last()[0])
            device.keys.append((now, self.add(values[1], ("device", values[0]), author)))
            device.standing, device.trust = "member", values[2]
        elif kind == 7:
            device = self.devices[values[0]]
            device.name, device.trust = values[1], values[3]
            device.groups.append((now, values[2]))
        elif kind == 8:
            self.lose(values[0], "lost", values[1])
        elif kind == 9:
            self.lose(values[0], "removed", NEVER)
        elif kind == 10:
            self.voters.append((now, values[0]))
        elif kind == 11:
            self.keys[values[0][0]] = Key(("join", None), now, author)
            self.joins[values[0][0]] = (values[0], 0)
        elif kind == 12:
            self.end(values[0])
        elif kind == 13:
            self.seals[values[0]] = values[1]
        elif kind == 14:
            self.thresholds.pop(values[0], None)
            if values[1]:
                self.thresholds[values[0]] = (values[1], values[2])
        elif kind == 15:
            inner = read_payload(*values)
            threshold = self.threshold(author, values[0], inner)
            self.proposals[entry] = (author, values[0], inner, {self.user_of(author)} & set(threshold[1]))
        elif kind == 16:
            who = self.user_of(author)
            if self.enough(values[0], who):
                proposer, inner_kind, inner, _ = self.proposals.pop(values[0])
                self.hold(entry, proposer, inner_kind, inner)
            else:
                self.proposals[values[0]][3].add(who)
        elif kind == 17:
            del self.proposals[values[0]]
        elif kind == 19:
            generation, following, user, key, since = values
            for own in [user.key for user in self.users.values() if user.key is not None]:
                self.end(own, since)
            for own in list(self.joins):
                self.end(own)
            self.end(author)
            self.thresholds, self.proposals = {}, {}
            self.keys[following] = Key(("recovery", None), now, author)
            self.recovery, self.recoveries = following, generation
            record = self.users.setdefault(user, User())
            record.key = self.add(key, ("user", user), author)[0]
            record.rights.append((now, [ALL]))


# Configuration


def section_groups(authority, section, position):
    kind, who = section.split("/")[:2]
    if kind == "groups":
        return [who]
    return authority.groups_of(bytes.fromhex(who), position) if kind == "devices" else []


def check_change(authority, sections, item):
    body = shape(unpack(item[0]), "u", "b32", head_kind, path, ("b32",), ("b32",), "o", "b32", "u", "t")
    version, fleet, head, section, content, replaces, execute, author, _, note = body
    need(version == 1, "another format")
    need(fleet == authority.fleet, "for another fleet")
    need(len(note.encode()) <= 256, "the note is too long")
    need(authority.has(head), "an unknown head")
    need(author in authority.keys and authority.keys[author].lived(head[0]), "no key then")
    need(authority.keys[author].ended is None, "a key that ended")
    for position in (head[0], authority.position()):
        rights, groups = authority.rights_at(author, position), section_groups(authority, section, position)
        for verb in ["put" if content else "delete"] + ["execute"] * execute:
            need(allowed(rights, verb, section, groups), f"no right {verb} on {section}")
    verify("change", author, item)
    standing = sections.get(section)
    need(replaces == (standing and standing[1]), "a conflict")
    need(content is not None or standing and not standing[3], "nothing to delete")
    return section, H("change", item[0]), content


# Trees


def history_root(leaves):
    if not leaves:
        return H("history empty")
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return H("history node", history_root(leaves[:split]), history_root(leaves[split:]))


def bit(data, at):
    return data[at // 8] >> (7 - at % 8) & 1 if at // 8 < len(data) else 0


def map_root(leaves):
    if not leaves:
        return H("map empty")
    return map_node([(leaf[0].encode(), leaf) for leaf in leaves])


def map_node(leaves):
    if len(leaves) == 1:
        return H("map leaf", pack(leaves[0][1]))
    at = next(at for at in range(2048) if len({bit(data, at) for data, _ in leaves}) == 2)
    sides = [[leaf for leaf in leaves if bit(leaf[0], at) == side] for side in (0, 1)]
    return H("map branch", at.to_bytes(2, "big"), map_node(sides[0]), map_node(sides[1]))


def check_checkpoint(authority, summary, item):
    shape(item, "b", array_of(lambda item: shape(item, "b10", "b64")))
    body = shape(unpack(item[0]), "u", "b32", "u", head_kind, "b32", "b32")
    need(body == summary, "a checkpoint of another log")
    position, ids = body[3][0], [voter for voter, _ in item[1]]
    need(ids == sorted(set(ids)), "signatures out of order")
    voters = [voter for voter, _ in authority.voters.at(position) or []]
    for voter, signature in item[1]:
        need(voter in voters, "signed by who does not vote")
        key = authority.devices[voter].keys.at(position)
        record = authority.keys[key[0]]
        need(record.lived(position) and record.ended is None, "signed with a key that ended")
        verify("checkpoint", key[0], [item[0], signature])
    need(2 * len(ids) > len(voters), "no majority")


def check_export(data, taken=None):
    """Refuses what is wrong, or, if it is to say what it has taken, passes over records that are."""
    stream = io.BytesIO(data)
    authority, sections, leaves, contents, checkpoints = None, {}, [], set(), 0
    while stream.tell() < len(data):
        kind, value = shape(read_item(stream), below(4), lambda _: None)
        need((kind == 0) == (authority is None), "the genesis is first, and once")
        if kind == 0:
            authority = Authority(value)
        elif kind == 1:
            shape(value, below(2), "b", "b64")
            try:
                if value[0] == 0:
                    authority.append(value[1:])
                else:
                    section, change, content = check_change(authority, sections, value[1:])
                    sections[section] = [section, change, len(leaves), content is None]
                    contents.add(content)
            except Refused as error:
                if taken is None:
                    raise
                taken.append(str(error))
                continue
            if taken is not None:
                taken.append(None)
            leaves.append(H("history leaf", pack(value)))
        elif kind == 2:
            check_checkpoint(authority, summary(authority, leaves, sections), value)
            checkpoints += 1
        else:
            shape(value, "b16", "b")
            need(H("content", *value) in contents, "a content that no change names")
    need(authority is not None, "no genesis")
    return authority, summary(authority, leaves, sections), checkpoints


def summary(authority, leaves, sections):
    head = [authority.position(), authority.heads[-1]]
    return [1, authority.fleet, len(leaves), head, history_root(leaves), map_root(list(sections.values()))]


# The vectors of the document


def check_vectors(page):
    vectors = dict(re.findall(r"^    (\S+) +([0-9a-f]+)$", page[page.index("## Vectors"):], re.MULTILINE))
    seed = bytes.fromhex(vectors["seed"])
    raw = lambda key: key.public_key().public_bytes_raw()
    key = [
        raw(Ed25519PrivateKey.from_private_bytes(H("signing", seed))),
        raw(X25519PrivateKey.from_private_bytes(H("noise", seed))),
        raw(X25519PrivateKey.from_private_bytes(H("sealing", seed))),
    ]
    found = {"seed": seed, "verify": key[0], "noise": key[1], "sealing": key[2], "device": device_id(key)}
    genesis = unpack(bytes.fromhex(vectors["genesis"]))
    authority = Authority(genesis)
    found |= {"genesis": pack(genesis), "fleet": authority.fleet}
    entry = unpack(bytes.fromhex(vectors["entry"]))
    authority.append(entry)
    found |= {"entry": pack(entry), "entry-id": authority.heads[1]}
    change = unpack(bytes.fromhex(vectors["change"]))
    section, change_id, content = check_change(authority, {}, change)
    leaf, record = [section, change_id, 1, False], [pack([0, *entry]), pack([1, *change])]
    found |= {"change": pack(change), "change-id": change_id, "content": pack(unpack(bytes.fromhex(vectors["content"])))}
    need(H("content", *unpack(found["content"])) == content, "the content is another")
    found |= {"history": history_root([H("history leaf", one) for one in record]), "map": map_root([leaf])}
    rollout = unpack(bytes.fromhex(vectors["rollout"]))
    version, stages, healthy, _, window, changes = rollout
    need(version == 1 and 1 <= len(stages) <= 16 and stages[-1] == 1 << 32, "the stages are not up to all")
    need(all(one < next for one, next in zip(stages, stages[1:])), "the stages do not rise")
    need(healthy <= 100 and (window is None or all(minute < 1440 for minute in window)), "the gate is none")
    (staged, said), = changes
    need(check_change(authority, {}, staged)[1] == change_id and H("content", *said) == content, "it is another change")
    stage = unpack(bytes.fromhex(vectors["stage"]))
    need(stage == [1, change_id, 1, False], "the stage is another")
    device = next(iter(authority.devices))
    found |= {"rollout": pack(rollout), "stage": pack(stage), "place": H("rollout", change_id, device)[:4]}
    need(found.keys() == vectors.keys(), f"the vectors are {sorted(vectors)}, not {sorted(found)}")
    for which, value in found.items():
        need(value.hex() == vectors[which], f"vector {which} is {value.hex()}")


def main():
    try:
        if sys.argv[1] == "--vectors":
            with open(sys.argv[2], encoding="utf-8") as file:
                return check_vectors(file.read())
        taken = [] if sys.argv[1] == "--judge" else None
        with open(sys.argv[-1], "rb") as file:
            authority, found, checkpoints = check_export(file.read(), taken)
    except Refused as error:
        print(f"refused: {error}", file=sys.stderr)
        sys.exit(1)
    _, fleet, index, head, history, sections = found
    print(json.dumps({
        "fleet": fleet.hex(), "index": index, "position": head[0], "entry": head[1].hex(), "history": history.hex(),
        "map": sections.hex(), "checkpoints": checkpoints, "devices": len(authority.devices),
    } | ({} if taken is None else {"refused": taken})))


if __name__ == "__main__":
    main()
