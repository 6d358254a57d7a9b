/* What stands in a segment (doc/channel-layout.md), for lib/segment*.c and
   lib/ring*.c alone. Offsets are counted, there are no pointers. What
   different sides write stands on different lines. */
#ifndef UX_LIB_RING_LAYOUT_H
#define UX_LIB_RING_LAYOUT_H

#include "lib/feature.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define UX_LINE 128 /* processors fetch two lines of 64 at once */

#define UX_SEGMENT_MAGIC UINT64_C(0x0a676e6972637075) /* "upcring\n" */
#define UX_SEGMENT_VERSION 1

enum { UX_STATE_INIT, UX_STATE_READY, UX_STATE_CLOSED };

/* ---- who: 24 bits, the slot and how often it was taken before ---------- */

#define UX_SLOT_BITS 10
#define UX_SLOTS_MAX (1u << UX_SLOT_BITS)
#define UX_EPOCH_MASK 0x3fffu
#define UX_WHO_BITS 24
#define UX_WHO_MASK 0xffffffu

static inline uint32_t ux_who(uint32_t slot, uint32_t epoch) {
  return slot | (epoch & UX_EPOCH_MASK) << UX_SLOT_BITS;
}

static inline uint32_t ux_who_slot(uint32_t who) {
  return who & (UX_SLOTS_MAX - 1);
}

/* ---- records ----------------------------------------------------------- */

enum ux_record_kind {
  UX_RECORD_DATA = 1,
  UX_RECORD_PAD,   /* to the end of the ring */
  UX_RECORD_LOAN,  /* of the holder, who fills it */
  UX_RECORD_ABORT, /* a loan given back */
  UX_RECORD_TAKEN, /* by the holder, who reads it */
  UX_RECORD_DONE,  /* was taken and let go */
};

/* At a multiple of 16, the bytes behind it. tag: kind | mark << 4 | holder
   << 8. stamp: who put it, and above that its position / 16, or in a broadcast
   its number. */
struct ux_record {
  _Atomic uint32_t tag, length;
  _Atomic uint64_t stamp;
};

#define UX_RECORD_ALIGN 16u
#define UX_STAMP_MASK ((UINT64_C(1) << 40) - 1)

static inline uint32_t ux_tag(enum ux_record_kind kind, unsigned mark,
                              uint32_t holder) {
  return (uint32_t)kind | (mark & 15u) << 4 | holder << 8;
}

static inline uint64_t ux_span(uint64_t length) {
  return (length + sizeof(struct ux_record) + UX_RECORD_ALIGN - 1) &
         ~(uint64_t)(UX_RECORD_ALIGN - 1);
}

/* ---- events, locks ----------------------------------------------------- */

/* Bits of an event's word; above them it counts. */
#define UX_EVENT_SLEEPER 1u /* somebody may sleep */
#define UX_EVENT_BELL 2u    /* somebody may have a bell armed */
#define UX_EVENT_ONE 4u

/* Of a lock's word: 0, or its owner. */
#define UX_LOCK_HELD 0x40000000u
#define UX_LOCK_WAITERS 0x80000000u

/* ---- a ring ------------------------------------------------------------ */

struct ux_ring_shared {
  /* Under the producers' lock. */
  _Alignas(UX_LINE) _Atomic uint32_t put_lock;
  _Atomic uint64_t free_from; /* read position when last looked at */
  _Atomic uint64_t stamp;     /* broadcast: number of the next message */
  _Atomic uint64_t gate_at;   /* broadcast: no subscriber is before this */
  _Atomic uint64_t puts, put_bytes, dropped;
  /* What producers say. */
  _Alignas(UX_LINE) _Atomic uint64_t write_at;
  _Atomic uint64_t tail_at; /* broadcast: the oldest record */
  _Atomic uint32_t put_cpu; /* where the last one ran, plus 1 */
  /* Under the consumers' lock. */
  _Alignas(UX_LINE) _Atomic uint32_t get_lock;
  _Atomic uint64_t ready_to; /* write position when last looked at */
  _Atomic uint64_t scan_at;  /* before this all are taken or done */
  _Atomic uint64_t gets;
  /* What consumers say. */
  _Alignas(UX_LINE) _Atomic uint64_t read_at;
  _Atomic uint32_t get_cpu;
  _Alignas(UX_LINE) _Atomic uint32_t not_empty;
  _Alignas(UX_LINE) _Atomic uint32_t not_full;
  /* Seldom written. */
  _Alignas(UX_LINE) _Atomic uint32_t role[2]; /* who put, got last; << 2 */
  _Atomic uint64_t aborted, redelivered, recovered;
  _Atomic uint64_t displaced; /* dropped by those put after them */
  uint64_t spare[7];
};

/* EXPECTED: nobody had it, and somebody whom we don't see may come. */
enum { UX_ROLE_NEVER, UX_ROLE_HERE, UX_ROLE_GONE, UX_ROLE_EXPECTED };

_Static_assert(sizeof(struct ux_ring_shared) == 7 * UX_LINE, "ring");
_Static_assert(sizeof(struct ux_record) == 16, "record");

/* ---- a participant ----------------------------------------------------- */

#define UX_SUBSCRIBED 0x40000000u /* with who it is */
#define UX_EVICTED 0x20000000u

/* Each arming of a bell is another one. */
#define UX_BELL_ONE (1u << (UX_SLOT_BITS + 2))

struct ux_slot_shared {
  _Alignas(UX_LINE) _Atomic uint32_t epoch;
  _Atomic uint32_t is_used;
  _Atomic uint32_t roles;
  _Atomic int32_t pid;
  _Atomic uint64_t start_time;
  _Atomic uint32_t bell[2]; /* armed: count << 12 | ring << 1 | 1 */
  /* A subscriber's own. */
  _Alignas(UX_LINE) _Atomic uint64_t cursor;
  _Atomic uint32_t subscribed;
};

_Static_assert(sizeof(struct ux_slot_shared) == 2 * UX_LINE, "slot");

/* ---- the segment ------------------------------------------------------- */

struct ux_segment_shared {
  /* Never changes once it is there. */
  uint64_t magic;
  uint32_t version, abi;
  uint64_t size;
  uint32_t kind, policy;
  uint64_t capacity, reply_capacity;
  uint32_t slots, retry;
  uint64_t generation;
  /* Changes. */
  _Alignas(UX_LINE) _Atomic uint32_t state;
  _Atomic uint32_t slots_seen; /* all that were ever taken are before this */
  _Alignas(UX_LINE) struct ux_slot_shared slot[];
  /* Behind the slots: the rings, each followed by its bytes. */
};

/* Of the architecture: word size, byte order, the layout's own sizes. */
#define UX_SEGMENT_ABI \
  ((uint32_t)sizeof(void *) << 24 | (uint32_t)sizeof(struct ux_ring_shared) | \
   (uint32_t)UX_LINE << 16)

/* ---- steps ------------------------------------------------------------- */

/* Places where a test stops, kills or changes over; else nothing. The test
   (make model, make kill) has functions of these names. */
#ifdef UX_RING_TEST
void ux_ring_step(const char *name);
int ux_ring_test_dead(uint32_t who); /* -1: as it is */
int ux_ring_test_wait(const _Atomic uint32_t *word, uint32_t expected,
                      int64_t at);
int ux_ring_test_wake(const _Atomic uint32_t *word, int count);
extern int ux_ring_test_spins;
#define UX_STEP(name) ux_ring_step(name)
#else
#define UX_STEP(name) ((void)0)
#endif

#endif
