/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What every program needs: helpers of the kernel by their numbers (include/uapi/linux/bpf.h), and words. */

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "q-grams are read as little-endian words"
#endif

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define SECTION(name) __attribute__((section(name), used))

/* A map that is looked into with a helper, and one whose only value is read at its place. */
#define MAP SECTION("maps")
#define VALUE SECTION("values")

static void *(*bpf_map_lookup_elem)(const void *map, const void *key) = (void *)1;
static long (*bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 length) = (void *)26;

/* A number of 16 bits in network order. */
static __always_inline __u32 be16(const __u8 *bytes)
{
	return (__u32)bytes[0] << 8 | bytes[1];
}
