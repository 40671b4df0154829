#!/usr/bin/env python3
"""Writes the hand-made part of the seed corpora: fuzz/corpus/TARGET/seed-*, from nothing but this file."""

import ipaddress
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def save(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "seed-" + name), "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


# SIP messages, each for something that its reader has to cope with.


def lines(*parts, end="\r\n"):
    return (end.join(parts) + end + end).encode()


REGISTER = lines(
    "REGISTER sip:pbx.example.org SIP/2.0",
    "Via: SIP/2.0/UDP 203.0.113.7:5061;branch=z9hG4bKk7d1;rport",
    "Max-Forwards: 70",
    'From: "mykn0ckstr1ng" <sip:desk@pbx.example.org>;tag=a81',
    'To: "mykn0ckstr1ng" <sip:desk@pbx.example.org>',
    "Call-ID: 77-door@203.0.113.7",
    "CSeq: 1 REGISTER",
    'Contact: <sip:desk@203.0.113.7:5061>;+sip.instance="<urn:uuid:4d0f6b1e-9c1a-4a55-8f3b-2a7e5c90d1aa>";reg-id=1',
    "Expires: 3600",
    "User-Agent: Handset/7",
    "Content-Length: 0",
)

INVITE_BODY = "v=0\r\no=- 4 4 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"

MESSAGES = {
    "register": REGISTER,
    "register-lf": REGISTER.replace(b"\r\n", b"\n"),
    "register-crcrlf": REGISTER.replace(b"\r\n", b"\r\r\n"),
    "register-blank-lines-first": b"\r\n\r\n" + REGISTER,
    "register-breaks-off": REGISTER[:211],
    "register-breaks-off-in-a-name": REGISTER[: REGISTER.index(b"ser-Agent")],
    "compact": lines(
        "OPTIONS sip:ping@192.0.2.1 SIP/2.0",
        "v: SIP/2.0/TCP 198.51.100.9;branch=z9hG4bKc",
        "f:sip:a@b;tag=2",
        "t:\tsip:c@d",
        "i: short@form",
        "m: *",
        "k: timer,path",
        "l: 0",
        "x: 1800",
        "o: presence",
    ),
    "folded": lines(
        "SUBSCRIBE sip:mwi@pbx SIP/2.0",
        'From: "Door',
        ' keeper"',
        "\t<sip:keeper@pbx>",
        "  ;tag=1",
        "To:",
        " <sip:mwi@pbx>",
        "Subject: one",
        "  ",
        " three",
    ),
    "odd-white-space": lines("NOTIFY   sip:a\tSIP/2.0  ", "From \t : \t x \t", "To  :y", "Event:", "Via : 1 , 2"),
    "no-colon": lines("BYE sip:a@b SIP/2.0", "this is no header", ": no name", "From: z", "::", "Call-ID: k"),
    "twice": lines("ACK sip:a SIP/2.0", "From: first", "FROM: second", "f: third", "From : fourth"),
    "uri-with-blanks": lines('INVITE sip:a b;c="d e"@f g SIP/2.0', "To: h"),
    "odd-method": lines("!odd-Method_*+`.%'~09 tel:+49301234 sip/2.0", "To: t"),
    "response": lines("SIP/2.0 401 Unauthorized", "Via: SIP/2.0/UDP x", 'WWW-Authenticate: Digest realm="pbx", nonce="1"'),
    "response-bare": b"SIP/2.0 200",
    "response-no-number": b"SIP/2.0 OK 200\r\n\r\n",
    "invite-with-body": lines("INVITE sip:9@pbx SIP/2.0", "From: i", "Content-Type: application/sdp")
    + INVITE_BODY.encode(),
    "utf8": lines("MESSAGE sip:a SIP/2.0", 'From: "Тюр Дверь 門" <sip:x>', "Subject: naïve ☎"),
    "eight-bit": b"INFO sip:a SIP/2.0\r\nFrom: \xff\xfe\x00\x01\r\nX\xc3: \x80\r\n\r\n",
    "keepalive-crlf": b"\r\n\r\n",
    "keepalive-nul": b"\0\0\0\0",
    "stun": bytes.fromhex("000100002112a442") + b"abcdefghijkl",
    "http": b"GET /sip:door SIP HTTP/1.1\r\nHost: a\r\n\r\n",
    "long-line": b"PUBLISH sip:a SIP/2.0\r\nX-Long: " + b"0123456789" * 150 + b"\r\nFrom: end\r\n\r\n",
    "many-headers": b"PRACK sip:a SIP/2.0\r\n" + b"".join(b"h%d:%d\r\n" % (n, n) for n in range(60)) + b"f:x\r\n\r\n",
}

# IP packets.


def udp(payload, sport=5061, dport=5060, length=None):
    return struct.pack(">HHHH", sport, dport, 8 + len(payload) if length is None else length, 0) + payload


def tcp(payload, sport=5061, dport=5060, options=b"", flags=0x18):
    offset = (20 + len(options)) // 4
    return struct.pack(">HHIIBBHHH", sport, dport, 1, 1, offset << 4, flags, 65535, 0, 0) + options + payload


def ipv4(data, protocol=17, source="203.0.113.7", fragment=0, options=b"", total=None):
    header = 20 + len(options)
    total = header + len(data) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x40 | header // 4, 0, total, 0x2B1D, fragment, 64, protocol, 0)
    return head + ipaddress.ip_address(source).packed + ipaddress.ip_address("192.0.2.1").packed + options + data


def ipv6(data, following=17, source="2001:db8:5::7", length=None):
    head = struct.pack(">IHBB", 0x60000000, len(data) if length is None else length, following, 64)
    return head + ipaddress.ip_address(source).packed + ipaddress.ip_address("2001:db8::1").packed + data


def fragment6(following, offset, more):
    return struct.pack(">BBHI", following, 0, offset << 3 | more, 0x2B1D)


def extension(following, words=1):
    return bytes([following, words - 1]) + b"\x01\x04" + bytes(words * 8 - 4)


SHORT = b"REGISTER sip:a SIP/2.0\r\nFrom: mykn0ckstr1ng\r\n\r\n"
ONLY_REGISTER = b"REGISTER sip:a SIP/2.0\r\nX: 0nly-register fr0m-office\r\n\r\n"

PACKETS = {
    "udp4-knock": ipv4(udp(SHORT)),
    "udp4-folded-knock": ipv4(udp(b"OPTIONS sip:KN0CK-FOLDED SIP/2.0\r\n\r\n")),
    "udp4-inner-knock": ipv4(udp(b"...kn0ck...")),
    "udp4-conditions": ipv4(udp(ONLY_REGISTER), source="198.51.100.9"),
    "udp4-wrong-method": ipv4(udp(ONLY_REGISTER.replace(b"REGISTER", b"INVITE", 1))),
    "udp4-stranger": ipv4(udp(MESSAGES["compact"])),
    "udp4-trusted": ipv4(udp(b"anything"), source="10.10.1.77"),
    "udp4-empty": ipv4(udp(b"")),
    "udp4-padded": ipv4(udp(b"hello")) + bytes(13),
    "udp4-options": ipv4(udp(SHORT), options=b"\x07\x07\x04\0\0\0\0\0"),
    "udp4-length-short": ipv4(udp(SHORT, length=20)),
    "udp4-length-zero": ipv4(udp(SHORT, length=0)),
    "udp4-length-long": ipv4(udp(SHORT, length=900)),
    "udp4-total-short": ipv4(udp(SHORT), total=19),
    "udp4-total-long": ipv4(udp(SHORT, length=1400), total=1428),
    "udp4-first-fragment": ipv4(udp(SHORT, length=1400), fragment=0x2000),
    "udp4-later-fragment": ipv4(b"mykn0ckstr1ng", fragment=0x00B9),
    "udp4-half-a-header": ipv4(b"\x13\xc5\x13\xc4"),
    "tcp4-knock": ipv4(tcp(SHORT), 6),
    "tcp4-syn": ipv4(tcp(b"", options=b"\x02\x04\x05\xb4\x01\x03\x03\x07", flags=2), 6),
    "tcp4-offset-long": ipv4(tcp(b"")[:12] + b"\xf0" + tcp(b"")[13:], 6),
    "icmp4": ipv4(b"\x08\x00\0\0\0\0\0\0", 1),
    "udp6-knock": ipv6(udp(SHORT)),
    "udp6-trusted": ipv6(udp(SHORT), source="2001:db8:7::9"),
    "udp6-mapped": ipv6(udp(SHORT), source="::ffff:203.0.113.7"),
    "tcp6-knock": ipv6(tcp(SHORT), 6),
    "udp6-chain": ipv6(
        extension(60) + extension(43, 2) + extension(51) + bytes([44, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])
        + fragment6(17, 0, 0) + udp(SHORT),
        0,
    ),
    "udp6-first-fragment": ipv6(fragment6(17, 0, 1) + udp(SHORT, length=3000), 44),
    "udp6-later-fragment": ipv6(fragment6(17, 181, 0) + b"mykn0ckstr1ng", 44),
    "udp6-cut-extension": ipv6(extension(17, 4)[:9], 60),
    "udp6-jumbo-length": ipv6(udp(SHORT), length=0),
    "version-5": b"\x50" + ipv4(udp(SHORT))[1:],
}

# Netlink, in this machine's byte order as the kernel has it.


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def netlink(kind, body, sequence=0, length=None):
    length = 16 + len(body) if length is None else length
    return struct.pack("=IHHII", length, kind, 0, sequence, 0) + body + bytes(-len(body) % 4)


def queued(number, packet, queue=0, extra=b""):
    body = struct.pack(">BBH", 2, 0, queue) + attribute(1, struct.pack(">IHB", number, 0x800, 1))
    return netlink(0x0300, body + extra + attribute(10, packet))


IN_DEVICE = attribute(5, b"\0\0\0\2") + attribute(9, b"\0\6\0\0\2\1\2\3\4\5\0\0") + attribute(0x8000 | 21, b"\1")

DATAGRAMS = {
    "packet": queued(1, PACKETS["udp4-knock"], extra=IN_DEVICE),
    "packets": b"".join(queued(n, PACKETS["udp4-empty"], 3) for n in range(1, 6)),
    "acknowledgement": netlink(2, bytes(20), 9),
    "enoent": netlink(2, struct.pack("=i", -2) + bytes(16)),
    "mixed": netlink(2, bytes(20), 4) + queued(77, b"abc") + netlink(3, b""),
    "no-id": netlink(0x0300, b"\2\0\0\1" + attribute(10, b"abcd")),
    "no-payload": netlink(0x0300, b"\2\0\0\1" + attribute(1, b"\0\0\0\5\x08\0\1")),
    "no-family": netlink(0x0300, b""),
    "attribute-long": netlink(0x0300, b"\2\0\0\1" + struct.pack("=HH", 900, 1) + bytes(8)),
    "attribute-short": netlink(0x0300, b"\2\0\0\1" + struct.pack("=HH", 3, 1) + bytes(8)),
    "length-long": netlink(0x0300, bytes(8), length=400),
    "length-short": netlink(0x0300, bytes(8), length=12),
    "cut": queued(8, PACKETS["udp4-stranger"])[:90],
}


def copied(number, packet, group=5060, extra=b""):
    body = struct.pack(">BBH", 2, 0, group) + attribute(1, b"\x08\0\3\0") + attribute(10, b"prefix\0")
    numbered = b"" if number is None else attribute(12, struct.pack(">I", number))
    return netlink(0x0400, body + extra + numbered + attribute(9, packet))


OUT_DEVICE = attribute(5, b"\0\0\0\2") + attribute(11, b"\0\0\0\0") + attribute(14, b"\0\0\0\0")

COPIES = {
    "copy": copied(0, PACKETS["udp4-stranger"], extra=OUT_DEVICE),
    "copies": b"".join(copied(n, PACKETS["udp4-empty"]) for n in [0, 1, 4, 0xFFFFFFFF]),
    "no-number": copied(None, PACKETS["udp6-knock"]),
    "no-payload": netlink(0x0400, b"\2\0\x13\xc4" + attribute(12, b"\0\0\0\5")),
    "short-number": netlink(0x0400, b"\2\0\x13\xc4" + attribute(12, b"\0\0") + attribute(9, b"abcd")),
    "payload-first": netlink(0x0400, b"\2\0\x13\xc4" + attribute(9, b"abc") + attribute(12, b"\0\0\0\5")),
    "acknowledgement": netlink(2, bytes(20), 1),
    "eperm": netlink(2, struct.pack("=i", -1) + bytes(16), 1),
    "done": copied(7, b"abc") + netlink(3, b"\0\0\x13\xc4"),
    "no-family": netlink(0x0400, b""),
    "attribute-long": netlink(0x0400, b"\2\0\0\1" + struct.pack("=HH", 900, 12) + bytes(8)),
    "attribute-short": netlink(0x0400, b"\2\0\0\1" + struct.pack("=HH", 3, 12) + bytes(8)),
    "cut": copied(8, PACKETS["tcp4-knock"])[:90],
}

# Captures.


def ether(packet, tags=b"", kind=b"\x08\x00"):
    return b"\x02" * 12 + tags + kind + packet


FRAMES = {
    1: ether(PACKETS["udp4-knock"]),
    101: PACKETS["udp4-knock"],
    12: PACKETS["udp4-stranger"],
    113: bytes(14) + b"\x08\x00" + PACKETS["tcp4-syn"],
    276: b"\x86\xdd" + bytes(18) + PACKETS["udp6-knock"],
    0: b"\x02\0\0\0" + PACKETS["udp4-trusted"],
    108: b"\0\0\0\x1e" + PACKETS["udp6-first-fragment"],
    147: b"whatever this is",
}


def pcap(frames, order="<", magic=0xA1B2C3D4, link=1, extra=b"", kept=None):
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for second, frame in enumerate(frames):
        length = len(frame) if kept is None else kept
        out += struct.pack(order + "IIII", 1795356000 + second, 999999, length, len(frame)) + extra + frame
    return out


def block(kind, body, order="<", length=None):
    body += bytes(-len(body) % 4)
    length = 12 + len(body) if length is None else length
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code, value, order="<"):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order="<", link=1, snap=0, options=b""):
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(frame, order="<", number=0, units=1795356000000000, kept=None):
    high, low = divmod(units, 1 << 32)
    head = struct.pack(order + "IIIII", number, high, low, len(frame) if kept is None else kept, len(frame))
    return block(6, head + frame + bytes(-len(frame) % 4), order)


def simple(frame, order="<", wire=None):
    return block(3, struct.pack(order + "I", len(frame) if wire is None else wire) + frame, order)


def obsolete(frame, order="<", number=0):
    return block(2, struct.pack(order + "HHIIII", number, 0, 418017, 9, len(frame), len(frame)) + frame, order)


def both(order):
    times = option(9, b"\x09", order) + option(14, struct.pack(order + "q", -3600), order) + option(0, b"", order)
    return (
        section(order)
        + interface(order)
        + interface(order, 101, 64, option(2, b"eth0", order) + times)
        + enhanced(FRAMES[1], order)
        + block(4, struct.pack(order + "HH", 0, 0), order)
        + simple(FRAMES[1], order)
        + enhanced(FRAMES[101], order, 1, 1795356000000000001)
        + obsolete(FRAMES[101], order, 1)
        + block(5, struct.pack(order + "III", 0, 1, 2), order)
    )


TWO_FRAGMENTS = [
    ipv4((udp(SHORT, length=8 + 2 * len(SHORT)))[:48], fragment=0x2000),
    ipv4(SHORT, fragment=6),
]

TWO_FRAGMENTS6 = [
    ipv6(fragment6(17, 6, 0) + SHORT, 44),
    ipv6(fragment6(17, 0, 1) + udp(SHORT, length=8 + 2 * len(SHORT))[:48], 44),
]

TUNNELLED = [
    ipv4(struct.pack(">HH", 0, 0x0800) + PACKETS["udp4-knock"], 47),
    ipv4(struct.pack(">HHI", 0x1000, 0x88BE, 0) + bytes(8) + ether(PACKETS["udp4-knock"]), 47),
    ipv4(PACKETS["udp6-knock"], 41),
    ipv4(udp(b"\x08\0\0\0\0\0\7\0" + ether(PACKETS["udp4-knock"]), dport=4789)),
    ipv4(udp(b"\1\0\x65\x58\0\0\7\0" + bytes(4) + ether(PACKETS["udp4-knock"]), dport=6081)),
    ipv4(udp(b"\x34\xff\0\0\0\0\0\1\0\0\0\x85\1\0\0\0" + PACKETS["udp4-knock"], dport=2152)),
]

CAPTURES = {
    "raw-fragments6": pcap(TWO_FRAGMENTS6, link=101),
    "raw-overlap": pcap(TWO_FRAGMENTS + TWO_FRAGMENTS[:1] + [ipv4(SHORT, fragment=0x2005)], link=101),
    "tunnels": pcap(TUNNELLED, link=101),
    "length-0": pcap([ipv4(udp(SHORT), total=0), ipv6(udp(SHORT), length=0)], link=101),
    "mpls": pcap([ether(b"\0\0\x11\x40" + PACKETS["udp4-knock"], kind=b"\x88\x47")]),
    "le": pcap([FRAMES[1], ether(PACKETS["udp4-stranger"]), ether(PACKETS["tcp4-syn"])]),
    "be": pcap([FRAMES[1]], ">"),
    "le-nanos": pcap([FRAMES[1]], magic=0xA1B23C4D),
    "be-nanos": pcap([FRAMES[1]], ">", magic=0xA1B23C4D),
    "le-modified": pcap([FRAMES[1]], magic=0xA1B2CD34, extra=bytes(8)),
    "raw-fragments": pcap(TWO_FRAGMENTS, link=101),
    "fcs-bits": pcap([FRAMES[1]], link=0x54000001),
    "no-packets": pcap([]),
    "cut": pcap([FRAMES[1], FRAMES[1]])[:-9],
    "too-large": pcap([FRAMES[1]], kept=0x7FFFFFFF),
    "vlans": pcap(
        [
            ether(PACKETS["udp4-knock"], b"\x81\0\0\7"),
            ether(PACKETS["udp6-knock"], b"\x88\xa8\0\7\x81\0\0\1", b"\x86\xdd"),
            ether(PACKETS["udp4-knock"], b"\x88\x64\x11\0\0\1\0\6", b"\0\x21"),
            ether(bytes(28), kind=b"\x08\x06"),
        ]
    ),
    "ng-le": both("<"),
    "ng-be": both(">"),
    "ng-sections": both("<") + both(">"),
    "ng-power-of-two": section() + interface(options=option(9, b"\x94")) + enhanced(FRAMES[1]),
    "ng-unknown-interface": section() + enhanced(FRAMES[1]),
    "ng-unknown-block": section() + block(0xBAD, b"abc") + interface() + enhanced(FRAMES[1]),
    "ng-kept-long": section() + interface() + enhanced(FRAMES[1], kept=100000),
    "ng-cut": both("<")[:-6],
    "ng-huge-block": section() + block(0xBAD, b"", length=0xFFFFFFF0),
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0",
    "empty": b"",
    "text": b"No. Time Source",
}
for kind, frame in FRAMES.items():
    CAPTURES["link-%d" % kind] = pcap([frame, frame[:7]], link=kind)

# Configurations. The secret that must not show is the same in all of them.

SECRET = "H5x-kn0ck-9vQ"
KNOCK = '[[knock]]\nname = "alice-desk"\nsecret = "%s"\n' % SECRET

CONFIGS = {
    "every-key": """[inspect]
ports = [5060, "5061-5063"]
transports = ["udp", "tcp"]
door = "4000s"
trusted = ["10.10.1.0/24", "2001:db8::1", "192.0.2.77/24"]
mode = "monitor"
renew = "packet"
ipv4_prefix = 24
ipv6_prefix = 48
max_doors = 1000
[queue]
numbers = "0-3"
backend = "nfq"
max_len = 16384
receive_buffer = "32MiB"
on_overload = "open"
on_exit = "closed"
"""
    + KNOCK
    + """in = "anywhere"
methods = ["REGISTER", "INVITE"]
ignore_case = true
door = "1h 30m"
sources = ["198.51.100.0/24"]
max_doors = 5
[[knock]]
name = "bob"
secret = "an0ther-one"
""",
    "least": KNOCK,
    "empty": "",
    "numbers": "[queue]\nnumbers = 2\nreceive_buffer = 1048576\n" + KNOCK,
    "wrong-type": KNOCK + "door = 4000\n",
    "wrong-value": KNOCK + 'methods = ["RE GISTER"]\n',
    "unknown-key": KNOCK + "dor = 1\n",
    "unknown-table": KNOCK + "[inspekt]\n",
    "key-twice": KNOCK + 'name = "again"\n',
    "name-twice": KNOCK + '[[knock]]\nname = "alice-desk"\nsecret = "x"\n',
    "same-in-other-case": KNOCK + '[[knock]]\nname = "b"\nsecret = "h5X-KN0CK-9Vq"\nignore_case = true\n',
    "literal": "[[knock]]\nname = 'a'\nsecret = '%s'\n" % SECRET,
    "many-lines": '[[knock]]\nname = "a"\nsecret = """\n%s"""\n' % SECRET,
    "no-quotes": "[[knock]]\nname = 'a'\nsecret = %s\n" % SECRET,
    "no-end": '[[knock]]\nname = "a"\nsecret = "%s\ndoor = "1h"\n' % SECRET,
    "colon": '[[knock]]\nname = "a"\nsecret: "%s"\n' % SECRET,
    "no-equals": '[[knock]]\nname = "a"\nsecret "%s"\n' % SECRET,
    "escape": '[[knock]]\nname = "a"\nsecret = "%s\\q"\n' % SECRET,
    "inline": '[inspect]\ndoor = "1h"\n[queue]\n\nknock = [{ name = "a", secret = "%s" }]\n' % SECRET,
    "inline-top": 'knock = [{ name = "a", secret = "%s" }, { name = "b" }]\n' % SECRET,
    "list": '[[knock]]\nname = "a"\nsecret = ["%s"]\n' % SECRET,
    "both-ways": KNOCK + 'secret_file = "beside"\n',
    "no-such-file": '[[knock]]\nname = "a"\nsecret_file = "beside"\n',
    "values": "5060,5061-5063\n0-3\n1h 30m 5s\n32MiB\n10.10.1.0/24\n2001:db8::/32\n192.0.2.7\nREGISTER\n",
    "values-wrong": "0\n3-1\n0s\n99GiB\n10.0.0.0/33\n70000\n4000\nnfq\n",
}

# Knocks and payloads for the matcher: see its `Line`.

MATCHES = {
    "one": b"@mykn0ckstr1ng\n\n" + REGISTER,
    "nested": b"@mykn0ckstr1ng\n@kn0ck\n@str1ng\n@g-and-more\n\nxx\x01\x00-and-more\x01\x01",
    "folded": b"ADoor-Keeper\n@door\nAEEP\n\n\x01\x00 \x02\x00 \x02\x02",
    "conditions": b"Bonly-reg\nDonly-office\nFb0th\n\nREGISTER sip:a SIP/2.0\r\nX: \x01\x00 \x01\x01\x01\x02\r\n\r\n",
    "logged": b'@mykn0ckstr1ng\nAurn:uuid:\n\nREGISTER sip:a SIP/2.0\r\nFrom: "\x01\x00" <sip:\x02\x01>\r\n'
    b"User-Agent: my\x01\x00\x01\x00 end\r\nCall-ID: \x01\x01\r\n\r\n",
    "across-header-fields": b"@f-one\r\nCall-ID: half\n\nOPTIONS sip:a SIP/2.0\r\nFrom: half of-one\r\nCall-ID: half-two\r\n\r\n",
    "long-from": b"@secret-at-the-cut\n\nINFO sip:a SIP/2.0\r\nFrom: " + b"0123456789" * 12 + b"\x01\x00 after\r\n\r\n",
    "unprintable": b"@\xff\xfekn0ck\n\nINFO sip:a SIP/2.0\r\nFrom: \x01\x00\x07\xe2\x80\xae\xc3\xa4\r\n\r\n",
    "all-alike": b"@aaa\n@aa\nAAa\n@a\n@aaaa\n\naaaAaaaa",
    "many": b"".join(b"@secret-%03d\n" % n for n in range(90)) + b"\n\x01\x07 secret-089 secret-09",
    "many-folded": b"".join(b"%csecret-%03d\n" % (b"@A"[n % 2], n) for n in range(70)) + b"\n\x02\x07 SECRET-069",
    "no-knocks": b"\n" + MESSAGES["compact"],
    "no-payload": b"@mykn0ckstr1ng\n\n",
}

# Logs of Asterisk, files of doors without their first 20 bytes and the checksum, and lines of the control socket.


def pjsip(text, peer="UDP:192.0.2.7:5060", prefix=""):
    heading = "%s<--- Received SIP request (%d bytes) from %s --->\n" % (prefix, len(text), peer)
    return heading.encode() + text + b"\n"


VERBOSE = "[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: "

LOGS = {
    "pjsip": pjsip(REGISTER) + b"<--- Transmitting SIP response (14 bytes) to UDP:192.0.2.7:5060 --->\nSIP/2.0 200 OK\n",
    "pjsip-file": pjsip(REGISTER, prefix=VERBOSE) + b"[2026-11-22 14:00:01] NOTICE[1] a.c: something else\n",
    "pjsip-console": b"".join(VERBOSE.encode() + line for line in pjsip(REGISTER).splitlines(True)),
    "chan-sip": b"<--- SIP read from UDP:192.0.2.7:5060 --->\n" + REGISTER + b"<------------->\n--- (11 headers 0 lines) ---\n",
    "chan-sip-old": b"<--- SIP read from 192.0.2.7:5060 --->\n" + REGISTER + b"\nReliably Transmitting (NAT) to 192.0.2.7:5060:\n"
    + b"SIP/2.0 401 Unauthorized\r\n\r\n---\n",
    "heading-inside": pjsip(MESSAGES["compact"] + pjsip(REGISTER)),
    "ipv6": pjsip(REGISTER, peer="TLS:[2001:db8::7]:5061"),
    "length-too-long": pjsip(REGISTER)[:200],
    "zeros-first": b"\0\0\0\0" + pjsip(REGISTER),
    "no-message": b"<--- Received SIP request (0 bytes) from UDP:192.0.2.7:5060 --->\n",
}


def state(names, doors, count=None, more=()):
    out = struct.pack("<QQQQBBI", 1795356000 * 10**9, 50 * 10**9, 7, 9, 32, 64, len(names))
    for name in names:
        out += struct.pack("<H", len(name)) + name
    for knock, closing in doors:
        source = bytes.fromhex("000000000000000007643354ffff0000")
        out += b"\1" + source + struct.pack("<IQQQQQQB", knock, 1, 2, 3 * 10**9, 4000 * 10**9, 12, 8400, closing)
    out += b"".join(more)
    return out + b"\0" + struct.pack("<Q", len(doors) + len(more) if count is None else count)


def outbound(method, bindings):
    source = bytes.fromhex("000000000000000007643354ffff0000")
    out = b"\2" + source + struct.pack("<QQQBH", 1, 2, 3600 * 10**9, method, len(bindings))
    return out + b"".join(struct.pack("<QQQQ", *binding) for binding in bindings)


MARK = b"\3" + bytes.fromhex("000000000000000007643354ffff0000") + struct.pack("<QQ", 5 * 10**9, 14400 * 10**9)


STATES = {
    "none": state([], []),
    "by-hand": state([], [(2**32 - 1, 0)]),
    "two": state([b"alice-desk", "Büro".encode()], [(0, 0), (1, 1)]),
    "outbound": state([], [], more=[outbound(0, [(1, 2, 3, 60 * 10**9)] * 2), outbound(255, [])]),
    "mark": state([b"alice"], [(0, 0)], more=[outbound(2, []), MARK]),
    "out-of-order": state([], [], more=[MARK, outbound(2, [])]),
    "no-method": state([], [], more=[outbound(6, [])]),
    "no-such-knock": state([b"alice"], [(1, 0)]),
    "wrong-count": state([b"alice"], [(0, 0)], count=2),
    "no-utf8": state([b"\xff\xfe"], []),
    "no-mark": state([b"alice"], [(0, 7)]),
    "many-names": struct.pack("<QQQQBBI", 0, 0, 0, 0, 32, 64, 2**32 - 1),
}

LINES = {
    "doors": '{"v":1,"do":"doors"}',
    "doors-of": '{"v":1,"do":"doors","knock":"alice-desk","source":"198.51.100.0/24"}',
    "open": '{"v":1,"do":"open","address":"198.51.100.7","for_s":3600,"knock":"alice-desk"}\n{"v":1,"do":"close","address":"::1"}',
    "close-mark": '{"v":1,"do":"close","address":"198.51.100.7","mark":true}',
    "plain": "\n".join('{"v":1,"do":"%s"}' % do for do in ["flush", "stats", "watch", "reload", "enforce"]),
    "version": '{"v":2,"do":"stats"}\n{"v":"1","do":"stats"}\n{"do":"stats"}',
    "wrong": '{"v":1,"do":"dance"}\n{"v":1,"do":"close"}\n{"v":1,"do":"flush","hard":true}\n[1]\n"v"\n',
    "deep": '{"v":1,"do":' + "[" * 200,
    "escapes": '{"v":1,"do":"close","address":"\\u0000\\ud83d\\ude00\\n"}',
}


def changed(kind, port, body):
    out = struct.pack("=IHHII", 16 + len(body), 0x0A00 | kind, 0, 0, port) + body
    return out + b"\0" * (-len(out) % 4)


def named(kind, value):
    out = struct.pack("=HH", 4 + len(value), kind) + value
    return out + b"\0" * (-len(out) % 4)


def ended(port, name, pid=b"\0\0\x72\xe5"):
    return changed(15, port, b"\0\0\0\2" + named(1, b"\0\0\0\2") + named(2, pid) + named(3, name + b"\0"))


RULE = changed(6, 29413, b"\2\0\0\2" + named(1, b"filter\0") + named(2, b"INPUT\0"))

CHANGES = {
    "rule": RULE + ended(29413, b"iptables"),
    "table": changed(2, 29418, b"\2\0\0\4" + named(1, b"filter\0")) + ended(29418, b"nft"),
    "longest-name": ended(7, b"iptables-restor"),
    "old-kernel": changed(15, 7, b"\0\0\0\2" + named(1, b"\0\0\0\2")),
    "no-id": changed(15, 7, b"\0\0\0\2") + RULE,
    "element": changed(12, 7, b"\2\0\0\2") + ended(7, b"fail2ban"),
    "cut": (RULE + ended(7, b"nft"))[:-9],
    "attribute-long": RULE + ended(7, b"nft").replace(b"\x08\0\x02\0", b"\xf4\1\x02\0"),
}

for target, seeds in [
    ("notify", CHANGES),
    ("asterisk", LOGS),
    ("state", STATES),
    ("control", LINES),
    ("sip", MESSAGES),
    ("packet", PACKETS),
    ("message", DATAGRAMS),
    ("nflog", COPIES),
    ("capture", CAPTURES),
    ("config", CONFIGS),
    ("matcher", MATCHES),
]:
    for name, data in seeds.items():
        save(target, name, data)
