/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Maps of the search, laid out as src/prefilter/layout.rs lays them out. */

/* Bytes of the first table, and words of the second (src/knock/gram_filter/tables.rs). */
#define MAX_FIRST (1 << 20)
#define MAX_SECOND (1 << 17)

/* A first table with this shift has a byte for each place, any other one a bit. */
#define BYTES_SHIFT 48

#define SECOND_MULTIPLIER 3935559000370003845ULL

/* The q-grams of the knocks that are searched at one stride. */
struct level {
	__u64 multiplier;
	__u32 q;
	/* 0: there are none. */
	__u32 stride;
	__u32 first_shift;
	__u32 second_shift;
	/* Of the half that this level is in, said in its long level. */
	__u32 escapes;
	__u32 everything;
	__u8 reserved[32];
	__u8 first[MAX_FIRST];
	__u64 second[MAX_SECOND];
};

/* The long level and the short one of one half, and those of the other half. */
struct level levels[4] MAP;

struct control {
	/* The half that is searched, 0 or 1. */
	__u32 active;
	/* Not 0: each packet is a hit. */
	__u32 everything;
};

struct control control VALUE;
