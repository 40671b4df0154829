/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Whether a packet may hold a knock: a socket filter for `iptables -m bpf --object-pinned`. Its result is one of
 * NONE, HIT and ODD; to the rule all but NONE is a match.
 *
 * The packet is read as src/packet.rs reads it, and its payload is searched as src/knock/gram_filter.rs searches it:
 * tests compare the results. The payload is read on the stack, one block at a time. A buffer of the processor is no place
 * for it: under iptables-nft softirqs stay enabled, and another packet's run overwrites it.
 */

#include "program.h"
#include "packet.h"
#include "tables.h"

/* Bytes of a block, and words of it, with room for what a search from its last bytes reads beyond. */
#define BLOCK 256
#define WORDS (BLOCK / 8)
#define ROOM (WORDS + 2)

#define MAX_BLOCKS (MAX_PAYLOAD / BLOCK)

/* Letters in one case. */
#define CASE 0x2020202020202020ULL

/* The compiler knows nothing of this number from here on, so that it makes no branch of what follows. */
#define OPAQUE(number) asm volatile("" : "+r"(number))

/* What a level's first table says of a hash: 1 if it may be a known one, and 0 if not. */
static __always_inline __u32 looked_up(struct level *level, __u64 hash, bool bytes)
{
	__u64 place;

	if (bytes)
		return level->first[hash >> 48];
	place = hash >> (level->first_shift & 63);
	return level->first[place >> 3 & (MAX_FIRST - 1)] >> (place & 7) & 1;
}

/* 1 if a place is not beyond `room`, and 0 if it is. */
static __always_inline __u32 is_within(__s64 place, __s64 room)
{
	__u64 beyond = room - place;

	OPAQUE(beyond);
	return ~beyond >> 63;
}

/*
 * The same of both tables, and of a place that is not beyond `room`. There is no branch in it: the verifier would follow both
 * ways at each place of each block.
 */
static __always_inline __u32 known(struct level *level, __u64 hash, __s64 place, __s64 room, bool bytes)
{
	__u64 second = (hash ^ hash >> 32) * SECOND_MULTIPLIER;
	__u64 word = level->second[second >> (level->second_shift & 63) & (MAX_SECOND - 1)];
	__u64 bits = 1ULL << (second >> 8 & 63) | 1ULL << (second >> 14 & 63) | 1ULL << (second >> 20 & 63)
		| 1ULL << (second >> 26 & 63);
	__u64 missing = bits & ~word, negative;

	OPAQUE(missing);
	negative = -missing;
	OPAQUE(negative);
	return looked_up(level, hash, bytes) & is_within(place, room) & ~(missing | negative) >> 63;
}

/*
 * The q-grams of a block at multiples of a stride of 8, 16 or 32, which is so many words. A q-gram may begin at 0 to `room`;
 * four at most are looked up behind it, and have no say.
 */
static __always_inline bool long_block(struct level *level, const __u64 *block, __s32 room, __u64 multiplier,
				       __u32 words, bool bytes)
{
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < WORDS; at += 4 * words) {
		const __u64 *four = block + at;
		__u32 found = 0;

		if ((__s32)(at * 8) > room)
			return false;
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < 4; i++)
			found |= looked_up(level, (four[i * words] | CASE) * multiplier, bytes);
		if (!found)
			continue;
		found = 0;
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < 4; i++) {
			__u64 word = four[i * words];

			OPAQUE(word);
			found |= known(level, (word | CASE) * multiplier, (at + i * words) * 8, room, bytes);
		}
		if (found)
			return true;
	}
	return false;
}

/* The eight bytes from this one of two words on. */
static __always_inline __u64 shifted(__u64 low, __u64 high, __u32 byte)
{
	return byte ? low >> 8 * byte | high << (64 - 8 * byte) : low;
}

/*
 * The q-grams of a block at multiples of a stride of 4. The last block of a payload may be a word longer than others.
 */
static __always_inline bool short_block(struct level *level, const __u64 *block, __s32 room, __u64 multiplier,
					__u32 stride)
{
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at <= WORDS; at++) {
		__u64 low, high;
		__u32 found = 0;

		if ((__s32)(at * 8) > room)
			return false;
		low = block[at];
		high = block[at + 1];
#pragma clang loop unroll(full)
		for (__u32 byte = 0; byte < 8; byte += stride)
			found |= looked_up(level, (shifted(low, high, byte) | CASE) * multiplier, false);
		if (!found)
			continue;
		found = 0;
#pragma clang loop unroll(full)
		for (__u32 byte = 0; byte < 8; byte += stride) {
			__u64 word = shifted(low, high, byte);

			OPAQUE(word);
			found |= known(level, (word | CASE) * multiplier, at * 8 + byte, room, false);
		}
		if (found)
			return true;
	}
	return false;
}

/*
 * Whether a number is 1 to `most`: said in two comparisons that the compiler neither leaves out nor joins, since verifiers before
 * that of Linux 6.8 learn a number's bounds from no other.
 */
static __always_inline bool is_size(__u32 *number, __u32 most)
{
	OPAQUE(*number);
	if (*number > most)
		return false;
	OPAQUE(*number);
	return (__s32)*number > 0;
}

/* Whether a payload has a q-gram of this level at a multiple of the stride. `block` has ROOM words. */
static __always_inline bool search(struct __sk_buff *skb, struct level *level, struct payload payload, __u64 *block,
				   __u32 stride, bool bytes)
{
	/* Shorter q-grams than words begin in one block and end in the next. */
	const __u32 load = stride < 8 ? BLOCK + 8 : BLOCK;
	__u64 multiplier = level->multiplier;
	__u32 q = level->q, at = payload.at, left = payload.length;

	if (stride < 8)
		block[ROOM - 1] = 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i <= MAX_BLOCKS; i++) {
		__u32 size;
		bool last;
		__s32 room;

		left = forgotten(skb, left);
		if (!left)
			break;
		last = left < load;
		room = last ? (__s32)left - (__s32)q : BLOCK - 1;
		/*
		 * The length of the last one is not known at load, so all of its room must have been written before: each
		 * time, so that it is the same to the verifier after any number of blocks.
		 */
		size = load;
		if (last) {
			__builtin_memset(block, 0, load);
			size = left;
			if (!is_size(&size, load - 1))
				return true;
		}
		if (bpf_skb_load_bytes(skb, at, block, size) < 0)
			return true;
		if (stride < 8 ? short_block(level, block, room, multiplier, stride)
			       : long_block(level, block, room, multiplier, stride / 8, bytes))
			return true;
		if (last)
			break;
		at += BLOCK;
		left -= BLOCK;
	}
	return false;
}

static __always_inline bool search_long(struct __sk_buff *skb, struct level *level, struct payload payload,
					__u64 *block)
{
	bool bytes = level->first_shift == BYTES_SHIFT;

	switch (level->stride) {
	case 0:
		return false;
	case 8:
		return bytes ? search(skb, level, payload, block, 8, true) : search(skb, level, payload, block, 8, false);
	case 16:
		return bytes ? search(skb, level, payload, block, 16, true)
			     : search(skb, level, payload, block, 16, false);
	case 32:
		return bytes ? search(skb, level, payload, block, 32, true)
			     : search(skb, level, payload, block, 32, false);
	default:
		return true;
	}
}

static __always_inline bool search_short(struct __sk_buff *skb, struct level *level, struct payload payload,
					 __u64 *block)
{
	switch (level->stride) {
	case 0:
		return false;
	case 4:
		return search(skb, level, payload, block, 4, false);
	default:
		return true;
	}
}

/* Whether there is a backslash in a payload. `block` has ROOM words. */
static __always_inline bool has_backslash(struct __sk_buff *skb, struct payload payload, __u64 *block)
{
	__u32 at = payload.at, left = payload.length;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i <= MAX_BLOCKS; i++) {
		__u32 length;
		__u64 found = 0;

		left = forgotten(skb, left);
		if (!left)
			break;
		length = left < BLOCK ? left : BLOCK;
		if (!is_size(&length, BLOCK))
			return true;
		__builtin_memset(block, 0, BLOCK);
		if (bpf_skb_load_bytes(skb, at, block, length) < 0)
			return true;
#pragma clang loop unroll(disable)
		for (__u32 word = 0; word < WORDS; word++) {
			/* Zero bytes of a word (Hacker's Delight, 6-1). */
			__u64 zeros = block[word] ^ 0x5c5c5c5c5c5c5c5cULL;

			found |= (zeros - 0x0101010101010101ULL) & ~zeros & 0x8080808080808080ULL;
		}
		if (found)
			return true;
		at += length;
		left -= length;
	}
	return false;
}

/* Whether a payload begins as an answer does, in any case. */
static __always_inline bool is_answer(struct payload payload)
{
	/* "sip/", read as a little-endian number. */
	return (payload.start | 0x00202020) == 0x2f706973;
}

SECTION("search")
int search_packet(struct __sk_buff *skb)
{
	struct payload payload = {};
	struct level *level;
	__u64 block[ROOM];
	__u32 index, odd;
	int result;

	if (control.everything)
		return HIT;
	result = find_payload(skb, &payload);
	if (result != FOUND)
		return result == LATER ? NONE : result;
	payload.at = forgotten(skb, payload.at);
	payload.length = forgotten(skb, payload.length);
	index = (control.active & 1) * 2;
	level = bpf_map_lookup_elem(levels, &index);
	if (!level || level->everything)
		return HIT;
	odd = is_answer(payload) || (level->escapes && has_backslash(skb, payload, block));
	odd = forgotten(skb, odd);
	if (search_long(skb, level, payload, block))
		return HIT;
	index++;
	level = bpf_map_lookup_elem(levels, &index);
	if (!level || search_short(skb, level, payload, block))
		return HIT;
	return odd ? ODD : NONE;
}
