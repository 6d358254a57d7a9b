/* A segment: shared memory that holds rings (lib/ring.h), and a table of those
   who take part. A handle, struct ux_segment, is one participant: one attached
   process, or one thread of it; two threads do not share a handle.

   A participant holds one byte of the segment's file by an open file
   description lock of its own, which the kernel lets go when it dies, in any
   namespace and whatever became of its number. A forked child takes part anew,
   by itself, with the first call that needs it. All waits that depend on
   another look whether it lives.

   Nothing that is read from the segment is believed: it is copied once and
   checked, EBADMSG is what is impossible. All functions return 0 or an
   errno. */
#ifndef UX_LIB_SEGMENT_H
#define UX_LIB_SEGMENT_H

#include "lib/feature.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* C++ has other atomics, and needs to know none of ours: pointers alone. */
#ifdef __cplusplus
#define UX_ATOMIC(type) type
extern "C" {
#else
#define UX_ATOMIC(type) _Atomic type
#endif

enum ux_segment_kind {
  UX_SEGMENT_QUEUE = 1, /* one ring, each message to one */
  UX_SEGMENT_SPSC,      /* one ring, one producer, one consumer, no locks */
  UX_SEGMENT_BROADCAST, /* one ring, each message to every subscriber */
  UX_SEGMENT_DUPLEX,    /* two spsc rings, between two ends */
  UX_SEGMENT_SERVICE,   /* a queue of requests, a ring of replies per slot */
};

/* What a broadcast does with a subscriber that is a whole ring behind. */
enum ux_segment_policy {
  UX_SEGMENT_GATE,  /* the publisher waits for it */
  UX_SEGMENT_LAP,   /* it loses the oldest, and is told how many */
  UX_SEGMENT_EVICT, /* as gate, but a publisher may throw it out */
};

struct ux_segment_options {
  enum ux_segment_kind kind;
  enum ux_segment_policy policy; /* of a broadcast */
  uint64_t capacity;             /* bytes a ring; rounded up to 2^k */
  uint64_t reply_capacity;       /* the same, of a service's replies */
  uint32_t slots;                /* participants at once; 0: 64 */
  bool retry; /* service: a dead server's request goes to another; else its
                 client gets a failure */
};

#define UX_SEGMENT_NAME_SIZE 256

struct ux_segment_shared; /* what stands in the segment: lib/ring_layout.h */

struct ux_segment {
  struct ux_segment_shared *at; /* NULL: detached */
  size_t size;
  int fd;     /* to hand over to others; it holds nothing */
  int live;   /* of our own open file description, with the locks; or -1 */
  int ringer; /* a socket to ring others' bells, or -1 */
  int line;   /* to the other end of a duplex (ux_duplex_tie), or -1 */
  int watch;  /* on that and the bell, or -1 */
  bool is_other_lost;   /* that end never came, and can't any more */
  uint32_t slot, epoch; /* who we are */
  uint32_t fork_count;  /* of the process that took the slot */
  uint32_t roles;       /* bytes held besides: a bit for each */
  struct ux_segment_options options; /* checked copies */
  struct ux_segment *next, **link;   /* all of this process, for fork */
};

/* A handle that is not attached, and holds nothing. */
#define UX_SEGMENT_NONE \
  ((struct ux_segment){ \
    .fd = -1, .live = -1, .ringer = -1, .line = -1, .watch = -1})

/* Makes a segment, complete before anybody can see it, and takes part. With a
   name (no slash: in the system's place for shared memory; else a path)
   others open it by name, EEXIST if there is one. Without one it is a memfd
   sealed against shrinking and growing. The space is taken: ENOSPC. EINVAL:
   options. `mode`: 0600 and such, whatever the umask is. */
int ux_segment_create(struct ux_segment *s, const char *name, mode_t mode,
                      const struct ux_segment_options *options);

/* Opens one by name; or by a descriptor, which stays the caller's. ENOENT;
   EBADMSG: it is no segment, or of another version or architecture, see
   ux_segment_explain; EUSERS: all slots are taken. */
int ux_segment_open(struct ux_segment *s, const char *name);
int ux_segment_adopt(struct ux_segment *s, int fd);

/* In words, why the last open or adopt of this thread said EBADMSG. */
const char *ux_segment_explain(void);

/* Leaves: gives back what it holds, as if killed, and unmaps. A copy in a
   forked child that did nothing leaves nobody. */
void ux_segment_detach(struct ux_segment *s);

/* Closes for all: who puts gets EPIPE; who gets takes what is there, then gets
   EPIPE. Everybody wakes. */
int ux_segment_close(struct ux_segment *s);
bool ux_segment_is_closed(const struct ux_segment *s);

/* Removes the name alone. */
int ux_segment_unlink(const char *name);

/* The same, unless it has become that of another one. */
int ux_segment_unlink_own(const struct ux_segment *s, const char *name);

/* Takes part (again) if this process has not: after a fork. All that need it
   do it themselves; it tells the errors early. */
int ux_segment_join(struct ux_segment *s);

/* A participant of a slot, as told by `from` of a message. */
bool ux_segment_is_alive(struct ux_segment *s, uint32_t from);
uint32_t ux_segment_self(const struct ux_segment *s);

struct ux_segment_participant {
  bool is_alive;
  uint32_t from, epoch, roles; /* roles: 1 has put, 2 has got or subscribed */
  int32_t pid;                 /* in its own namespace; for display */
  uint64_t start_time;         /* of the process, in clock ticks */
};

/* Of slot 0, 1, …: ENOENT: nobody there; EINVAL: no such slot. */
int ux_segment_participant(struct ux_segment *s, uint32_t slot,
                           struct ux_segment_participant *p);

/* Frees what dead participants left in all rings, as those who wait do
   anyway; how many there were. */
uint32_t ux_segment_reap(struct ux_segment *s);

/* ---- all segments ---- */

/* Where segments with names of no slash stand, and what their files' names
   begin with. */
#define UX_SEGMENT_DIRECTORY "/dev/shm"
#define UX_SEGMENT_PREFIX "unixipc."

struct ux_segment_info {
  struct ux_segment_options options;
  bool is_closed;
  size_t size;
  uint32_t alive; /* participants */
};

/* Looks at one without taking part. */
int ux_segment_look(const char *name, struct ux_segment_info *info);

/* Removes the name if nobody alive takes part: EBUSY else. Safe against who
   opens it meanwhile: that one gets a new one, or ENOENT. */
int ux_segment_remove_unused(const char *name);

#ifdef __cplusplus
}
#endif

#endif
