/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a packet to its payload, as src/packet.rs reads it. */

/* What a program says of a packet. */
enum {
	/* It holds no knock, or nothing that is to be decided in user space. */
	NONE,
	/* It may hold a knock. */
	HIT,
	/* It is for user space to say. */
	ODD,
	/* Only between functions: the payload is to be searched. */
	FOUND,
	/* The same: a fragment other than the first, which is NONE to a search. */
	LATER,
};

/* Longer payloads are for user space. */
#define MAX_PAYLOAD 2048

/* So are packets with more extension headers. */
#define MAX_EXTENSIONS 8

/* Protocol numbers (RFC 8200, 4; RFC 4302). */
#define HOP_BY_HOP 0
#define TCP 6
#define UDP 17
#define ROUTE 43
#define FRAGMENT 44
#define AUTHENTICATION 51
#define DESTINATION 60

/* Bytes of an IPv4 header without options, of a UDP header, and of the beginning of a payload: what is read at once. */
#define HEADER 20
#define START 4
#define USUAL (HEADER + 8 + START)

/* Where the payload of a datagram stands in its packet, from the IP header on. */
struct payload {
	__u32 at;
	__u32 length;
	/* Its first bytes, 0 if there are fewer. */
	__u32 start;
};

/* What is behind an IP header and its extensions. */
struct transport {
	/* Where it begins. */
	__u32 at;
	/* Bytes that the IP header says there are, and those of them that are there. */
	__u32 on_wire;
	__u32 kept;
	/* There are more fragments. */
	bool fragment;
};

/* `read` is the header and what is behind it, if that was read before. */
static __always_inline int find_udp(struct __sk_buff *skb, const __u8 *read, struct transport transport,
				    struct payload *payload)
{
	const __u8 *header = read;
	__u8 room[8];
	__u32 said, behind;

	if (transport.kept < sizeof(room))
		return NONE;
	if (!read) {
		if (bpf_skb_load_bytes(skb, transport.at, room, sizeof(room)) < 0)
			return NONE;
		header = room;
	}
	said = be16(header + 4);
	/* On the first fragment the length is that of the whole datagram. */
	if (said < sizeof(room) || (said > transport.on_wire && !transport.fragment))
		return NONE;
	/* Several datagrams may be one packet until they leave the kernel. */
	if (transport.fragment || skb->gso_segs > 1)
		return ODD;
	said -= sizeof(room);
	behind = transport.kept - sizeof(room);
	payload->at = transport.at + sizeof(room);
	payload->length = said < behind ? said : behind;
	payload->start = 0;
	if (payload->length >= START) {
		if (read)
			__builtin_memcpy(&payload->start, read + sizeof(room), START);
		else if (bpf_skb_load_bytes(skb, payload->at, &payload->start, START) < 0)
			return ODD;
	}
	return payload->length > MAX_PAYLOAD ? ODD : FOUND;
}

static __always_inline int find_tcp(struct __sk_buff *skb, struct transport transport)
{
	__u8 offset;

	if (transport.kept < 20 || bpf_skb_load_bytes(skb, transport.at + 12, &offset, 1) < 0)
		return NONE;
	offset = offset >> 4 << 2;
	return offset < 20 || offset > transport.kept ? NONE : ODD;
}

static __always_inline int find_behind(struct __sk_buff *skb, __u8 protocol, struct transport transport,
				       struct payload *payload)
{
	if (protocol == UDP)
		return find_udp(skb, NULL, transport, payload);
	return protocol == TCP ? find_tcp(skb, transport) : NONE;
}

/* `usual` says that as much was read as USUAL is. */
static __always_inline int find_ipv4(struct __sk_buff *skb, const __u8 *header, bool usual, struct payload *payload)
{
	__u32 length = (header[0] & 0xf) * 4, total = be16(header + 2), flags = be16(header + 6), behind;
	struct transport transport;

	if (length < 20 || length > skb->len || total < length)
		return NONE;
	if (flags & 0x1fff)
		return LATER;
	behind = skb->len - length;
	transport.at = length;
	transport.on_wire = total - length;
	transport.kept = behind < transport.on_wire ? behind : transport.on_wire;
	transport.fragment = flags & 0x2000;
	if (usual && length == HEADER && header[9] == UDP)
		return find_udp(skb, header + HEADER, transport, payload);
	return find_behind(skb, header[9], transport, payload);
}

static __always_inline int find_ipv6(struct __sk_buff *skb, const __u8 *header, struct payload *payload)
{
	__u32 length = skb->len;
	struct transport transport;
	__u8 next = header[6];

	if (length < 40)
		return NONE;
	transport.at = 40;
	/* 0 stands for a jumbogram (RFC 2675): none of ours. */
	transport.on_wire = be16(header + 4);
	transport.kept = length - 40 < transport.on_wire ? length - 40 : transport.on_wire;
	transport.fragment = false;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i <= MAX_EXTENSIONS; i++) {
		__u8 extension[8];
		__u32 size;

		if (next != HOP_BY_HOP && next != DESTINATION && next != ROUTE && next != AUTHENTICATION
		    && next != FRAGMENT)
			return find_behind(skb, next, transport, payload);
		if (i == MAX_EXTENSIONS)
			return ODD;
		if (transport.kept < sizeof(extension)
		    || bpf_skb_load_bytes(skb, transport.at, extension, sizeof(extension)) < 0)
			return NONE;
		if (next == FRAGMENT) {
			__u32 flags = be16(extension + 2);

			if (flags & 0xfff8)
				return LATER;
			transport.fragment |= flags & 1;
			size = sizeof(extension);
		} else if (next == AUTHENTICATION) {
			if (!extension[1])
				return NONE;
			size = (extension[1] + 2) * 4;
		} else {
			size = (extension[1] + 1) * 8;
		}
		if (transport.kept < size)
			return NONE;
		next = extension[0];
		transport.at += size;
		transport.on_wire -= size;
		transport.kept -= size;
	}
	return ODD;
}

/* Finds the payload of a datagram, or says what else the packet is. */
static __always_inline int find_payload(struct __sk_buff *skb, struct payload *payload)
{
	__u8 header[USUAL];
	bool usual = bpf_skb_load_bytes(skb, 0, header, USUAL) >= 0;

	/* Neither protocol has a shorter one with a transport header behind it. */
	if (!usual && bpf_skb_load_bytes(skb, 0, header, HEADER) < 0)
		return NONE;
	switch (header[0] >> 4) {
	case 4:
		return find_ipv4(skb, header, usual, payload);
	case 6:
		return find_ipv6(skb, header, payload);
	default:
		return NONE;
	}
}

/*
 * The same number. The verifier forgets what it knows of it, which is something else on each way to this place, so that it
 * looks at what follows once and not once for each of them. The field is the program's while it runs: the kernel keeps what
 * was there (bpf_prog_run_save_cb, include/linux/filter.h).
 */
static __always_inline __u32 forgotten(struct __sk_buff *skb, __u32 number)
{
	__u64 same = number;

	/* In assembler, since the kernel takes no pointer to a field of the context. */
	asm volatile("*(u32 *)(%1 + %2) = %0\n%0 = *(u32 *)(%1 + %2)"
		     : "+r"(same)
		     : "r"(skb), "i"(offsetof(struct __sk_buff, cb))
		     : "memory");
	return same;
}
