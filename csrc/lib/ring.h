/* Messages in shared memory: rings of records of any length, in a segment
   (lib/segment.h). Crash-safe: whoever is killed at whatever instruction, a
   message half written is never seen, one half read is read again, no lock
   stays taken, nobody waits for the dead.

   No call blocks. What has to wait is said by

     EAGAIN  nothing there (get), no room (put): or what is next is a loan
             that is not yet committed
     EBUSY   another one holds the lock for a moment longer than usual

   and then the caller does

     if (ux_ring_spin(r, side)) try again;
     err = ux_ring_sleep(r, side, at);    0: try again

   where ux_ring_sleep sleeps once, a slice at most, so that signals and
   deadlines have their turn (in Lua: inside ux_wait_call). Give up at EBUSY
   for a timeout of 0 after a few milliseconds of sleeps only. Other errors, of
   all calls:

     EBADMSG  what stands in the segment is impossible
     EPIPE    it was closed (get: and is empty); duplex: the other end is gone
     EDEADLK  spsc: this handle's own loan, of the same side, is in the way
     EUSERS   all slots are taken; EMFILE … : after fork, of taking part anew

   No call allocates, and none calls back: lengths are told before (ERANGE).
   A struct ux_ring is private to one thread and lives as long as its
   segment's handle stays attached. */
#ifndef UX_LIB_RING_H
#define UX_LIB_RING_H

#include "lib/segment.h"

#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ux_ring_side { UX_RING_PUT, UX_RING_GET };

/* What a put does when there is no room. */
enum ux_ring_overflow {
  UX_RING_FULL,        /* EAGAIN: the caller waits, or fails */
  UX_RING_DROP_NEW,    /* 0, and it is counted as dropped; reserve: EAGAIN */
  UX_RING_DROP_OLDEST, /* queue: makes room, what goes is counted */
};

struct ux_ring_shared; /* lib/ring_layout.h */

struct ux_ring_mode; /* lib/ring_inner.h */

/* The fields are the ring's own. */
struct ux_ring {
  struct ux_segment *segment;
  struct ux_ring_shared *at;
  char *data;
  const struct ux_ring_mode *mode;
  uint64_t mask, limit; /* capacity - 1; the longest message */
  uint32_t index;
  enum ux_ring_overflow overflow;
  uint32_t fork_count; /* the private copies are of which process */
  /* Private copies: spsc, our own position, and how far we may go; those of
     get are a subscriber's too. */
  uint64_t put_at, put_to;
  uint64_t get_at, get_to;
  uint64_t puts, put_bytes, gets;
  uint64_t next_stamp; /* a subscriber's: what comes next */
  uint64_t lost;
  bool is_putting, is_getting; /* has the role, or subscribed */
  bool is_role_taken[2];
  bool has_loan[2]; /* spsc: reserved, or peeked at */
  /* Why a side said EAGAIN last: while these are so. */
  struct ux_ring_watch {
    const UX_ATOMIC(uint64_t) * word64;
    const UX_ATOMIC(uint32_t) * word32;
    uint64_t seen64;
    uint32_t seen32;
  } watch[2];
  UX_ATOMIC(uint32_t) * lock; /* what said EBUSY; else NULL */
  uint32_t lock_seen;
  UX_ATOMIC(uint32_t) * slept_on; /* a lock */
  bool is_looking;
  bool was_woken;    /* for room, and has not put since */
  int64_t looked_at; /* when it was last looked for the dead */
  struct ux_ring_spin {
    int64_t ns;           /* what it may take */
    uint32_t misses;      /* since the last hit */
    uint32_t pause, rest; /* hits without gathering: how many, how many more */
  } spin[2];
  int bell[2]; /* sockets, or -1 */
};

/* A ring of an attached segment: index 0; of a duplex the two directions, see
   below; of a service 0 the requests, 1 + slot the replies. EINVAL. */
int ux_ring_init(struct ux_ring *r, struct ux_segment *s, uint32_t index);

/* Lets go what the handle holds of its own (bell, role, subscription). */
void ux_ring_done(struct ux_ring *r);

/* The longest message: a put of more is EMSGSIZE. */
uint64_t ux_ring_limit(const struct ux_ring *r);

/* ---- put --------------------------------------------------------------- */

/* `mark`, 0 … 15, is the caller's and comes out again at get. In spsc mode the
   first put takes the producer's role: EBUSY with ux_ring_is_role_taken if
   another one alive has it. */
int ux_ring_put(struct ux_ring *r, const void *data, size_t length,
                unsigned mark);
int ux_ring_putv(struct ux_ring *r, const struct iovec *iov, int count,
                 unsigned mark);

struct ux_ring_item {
  const void *data;
  size_t length;
  unsigned mark;
};

/* As many from the first on as there is room for, published at once: 0 with
   *done (> 0 unless count is 0); or an error and *done 0. */
int ux_ring_put_many(struct ux_ring *r, const struct ux_ring_item *items,
                     size_t count, size_t *done);

/* spsc: records are written, but shown to the consumer only at
   ux_ring_publish, or when the ring is full: for streams of small messages.
   Killed before that, they never existed. */
int ux_ring_put_quietly(struct ux_ring *r, const void *data, size_t length,
                        unsigned mark);
void ux_ring_publish(struct ux_ring *r);

/* ---- get --------------------------------------------------------------- */

struct ux_ring_message {
  size_t length;
  unsigned mark;
  uint32_t from;     /* who put it: ux_segment_is_alive */
  uint64_t lost;     /* lap: so many were lost before this one */
  const void *data;  /* of ux_ring_peek */
  uint64_t position; /* of ux_ring_peek: for ux_ring_release */
};

/* Copies the next message out. ERANGE: `size` is too small, m->length says
   what is needed, nothing is taken. */
int ux_ring_get(struct ux_ring *r, void *buffer, size_t size,
                struct ux_ring_message *m);

/* Up to `max` messages that are there, back to back, each at a multiple of 8
   behind a struct ux_ring_packed: 0 with *count > 0, or an error. ERANGE as
   above, of the first, in *needed. Walk with ux_ring_packed_next. */
struct ux_ring_packed {
  uint32_t length, mark, from, lost;
};

int ux_ring_get_many(struct ux_ring *r, void *buffer, size_t size, size_t max,
                     size_t *count, size_t *needed);

/* The data of one; *at moves to the next one. */
static inline const void *ux_ring_packed_next(const char **at,
                                              struct ux_ring_packed *head) {
  const char *p = *at;
  __builtin_memcpy(head, p, sizeof *head);
  *at = p + sizeof *head + ((head->length + 7u) & ~(size_t)7);
  return p + sizeof *head;
}

/* Bytes that a message takes in the buffer. */
static inline size_t ux_ring_packed_size(size_t length) {
  return sizeof(struct ux_ring_packed) + ((length + 7) & ~(size_t)7);
}

/* ---- loans: without a copy --------------------------------------------- */

/* A place of `length` bytes in the ring, 16-aligned, in which the caller
   writes. Those behind it wait until it is committed or aborted; of a dead
   owner it is aborted by whoever waits. In spsc mode one at a time, and no put
   beside it. */
struct ux_ring_loan {
  void *data;
  size_t length;
  uint64_t position;
};

int ux_ring_reserve(struct ux_ring *r, size_t length,
                    struct ux_ring_loan *loan);
/* `length`: at most what was reserved. EBADMSG: it is not ours (any more). */
int ux_ring_commit(struct ux_ring *r, const struct ux_ring_loan *loan,
                   size_t length, unsigned mark);
int ux_ring_abort(struct ux_ring *r, const struct ux_ring_loan *loan);

/* The next message in place: m->data, m->length. No other consumer gets it;
   if this one dies before the release, the next one does. In a queue several
   may be held at once, in spsc mode one, and no get beside it. ENOTSUP: a
   broadcast that laps or evicts. The other side may write to the bytes if it
   wants: they are not to be believed twice. */
int ux_ring_peek(struct ux_ring *r, struct ux_ring_message *m);
int ux_ring_release(struct ux_ring *r, uint64_t position);
/* Not taken after all: goes to the next consumer (queue, service). */
int ux_ring_untake(struct ux_ring *r, uint64_t position);

/* ---- waiting ----------------------------------------------------------- */

/* Looks for a while (10 us at most, none on one processor, none when the other
   side last ran on ours) whether it would go on: true: try again. Where small
   messages stream it lets some gather, 0.3 us. */
bool ux_ring_spin(struct ux_ring *r, enum ux_ring_side side);

/* Sleeps once: 0: try again; EINTR; ETIMEDOUT: `at` (monotonic, 0: none) has
   come. It looks for the dead before, unless it did in the last 10 ms; it
   sleeps for a slice of at most 250 ms. A signal that comes before the sleep
   is the caller's to see to (ux_wait_call). */
int ux_ring_sleep(struct ux_ring *r, enum ux_ring_side side, int64_t at);

/* For C programs: the loop of the above. `timeout` in ns, < 0: for ever.
   Signals are slept over. */
int ux_ring_send(struct ux_ring *r, const void *data, size_t length,
                 int64_t timeout);
int ux_ring_receive(struct ux_ring *r, void *buffer, size_t size,
                    struct ux_ring_message *m, int64_t timeout);

/* ---- spsc and duplex --------------------------------------------------- */

/* Takes the role of a side early: EBUSY: another one alive has it. */
int ux_ring_take_role(struct ux_ring *r, enum ux_ring_side side);
bool ux_ring_is_role_taken(const struct ux_ring *r, enum ux_ring_side side);

/* A duplex has ends 0 and 1: end e puts into ring e and gets from ring 1 - e.
   Once the other end has come and gone (closed, exited, killed), get is EPIPE
   after what it sent, put is EPIPE at once. */
int ux_duplex_init(struct ux_ring *out, struct ux_ring *in,
                   struct ux_segment *s, uint32_t end);
/* An end that nobody alive has, preferably *end; or EUSERS. */
int ux_duplex_free_end(struct ux_segment *s, uint32_t *end);
/* Ties the handles of both ends, in the process that makes them, by a
   descriptor each. Then an end that is not there in any process, closed or
   ended in all that inherited it, is over though nobody ever used it. */
int ux_duplex_tie(struct ux_segment *one, struct ux_segment *other);
/* Except after this: the segment's descriptor is handed over to others. */
int ux_duplex_expect(struct ux_segment *s);

/* ---- broadcast --------------------------------------------------------- */

enum ux_ring_start { UX_RING_NEW, UX_RING_OLDEST, UX_RING_LAST };

/* From now on get and peek work on this handle. `last`: how many, of
   UX_RING_LAST. A handle subscribes once per segment. */
int ux_ring_subscribe(struct ux_ring *r, enum ux_ring_start start,
                      uint64_t last);
/* After it get is ENOTCONN, as before the first subscribe, and as when a
   publisher threw it out. */
void ux_ring_unsubscribe(struct ux_ring *r);

/* evict: throws out those that leave no room for `length` bytes; how many. */
int ux_ring_evict(struct ux_ring *r, size_t length, uint32_t *evicted);

/* ---- service ----------------------------------------------------------- */

/* Clients put requests into ring 0, each with an id that the client makes; the
   reply comes back, with the id, in the client's own ring. Both stand behind
   UX_SERVICE_HEAD bytes, for which buffers need room: m->data is where they
   are in the buffer, m->length what they have; with ERANGE it is what the
   buffer needs. A request whose server was killed goes to the next, or, by the
   segment's options, comes back as failed; so there may be two replies to one
   id, of which the client takes the first. */
#define UX_SERVICE_HEAD 16
#define UX_SERVICE_PIECES 8 /* most of an iov */

struct ux_service_request {
  struct ux_ring_message message; /* from: the client */
  uint64_t id;
};

int ux_service_ask(struct ux_ring *requests, const struct iovec *iov,
                   int count, unsigned mark, uint64_t id);

/* Copies one out and keeps it as taken until the reply. A server may keep
   several. */
int ux_service_take(struct ux_ring *requests, void *buffer, size_t size,
                    struct ux_service_request *q);

/* Puts the reply, then lets the request go. EAGAIN or EBUSY: wait on
   *replies, put side. ECONNRESET: the client is gone, and the request is let
   go too. `replies`, all zeros before the first call, is set to the client's
   ring. */
int ux_service_reply(struct ux_ring *requests, struct ux_ring *replies,
                     const struct ux_service_request *q,
                     const struct iovec *iov, int count, unsigned mark);

/* Our own ring of replies; what a reply has. ECANCELED, with *id: the server
   died with the request. */
int ux_service_replies(struct ux_ring *replies, struct ux_segment *s);
int ux_service_collect(struct ux_ring *replies, void *buffer, size_t size,
                       struct ux_ring_message *m, uint64_t *id);

/* ---- in a poller ------------------------------------------------------- */

/* A descriptor that is readable when it is worth to try that side; made, and
   others told of it, with the first call. After it is readable and the side
   was tried until EAGAIN, call ux_ring_bell_rearm, which makes it quiet, or
   leaves it readable if something came meanwhile. Linux. */
int ux_ring_bell(struct ux_ring *r, enum ux_ring_side side, int *fd);
int ux_ring_bell_rearm(struct ux_ring *r, enum ux_ring_side side);

/* ---- stats ------------------------------------------------------------- */

struct ux_ring_stats {
  uint64_t capacity, used;     /* bytes, records' heads included */
  uint64_t messages;           /* put, and neither got nor dropped */
  uint64_t puts, gets;         /* messages; ± 1 for each one killed at it */
  uint64_t put_bytes, dropped; /* dropped: by overflow */
  uint64_t aborted;            /* loans given back, or of the dead */
  uint64_t redelivered;        /* taken by one who died before the release */
  uint64_t recovered;          /* locks taken over from the dead */
  uint64_t subscribers, lag;   /* alive; messages this one is behind */
};

int ux_ring_stats(struct ux_ring *r, struct ux_ring_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
