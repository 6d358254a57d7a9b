/* What lib/segment*.c and lib/ring*.c share. */
#ifndef UX_LIB_SEGMENT_INNER_H
#define UX_LIB_SEGMENT_INNER_H

#include "lib/ring_layout.h"
#include "lib/segment.h"

/* How many rings there are; where one stands, and its capacity. */
uint32_t ux_segment_rings(const struct ux_segment_options *o);
uint64_t ux_segment_ring_offset(const struct ux_segment_options *o,
                                uint32_t index);
uint64_t ux_segment_ring_capacity(const struct ux_segment_options *o,
                                  uint32_t index);

/* Checks and completes options; the size of such a segment. */
int ux_segment_check_options(struct ux_segment_options *o);
uint64_t ux_segment_size(const struct ux_segment_options *o);

/* Checks a head that was copied; on EBADMSG tells why, see explain. */
int ux_segment_check_head(const struct ux_segment_shared *head, size_t size,
                          struct ux_segment_options *o);

/* Grows with every fork of this process; never 0. */
extern uint32_t ux_segment_forks;

/* Registers for fork, opens nothing. */
void ux_segment_enter_list(struct ux_segment *s);
void ux_segment_leave_list(struct ux_segment *s);

/* Is a participant dead? Costs a system call, unless it is us. */
bool ux_segment_is_dead(struct ux_segment *s, uint32_t who);

/* Role bytes, of each ring two: 0, EBUSY. */
int ux_segment_lock_role(struct ux_segment *s, uint32_t ring, int side);
void ux_segment_unlock_role(struct ux_segment *s, uint32_t ring, int side);
bool ux_segment_is_role_locked(struct ux_segment *s, uint32_t ring, int side);

static inline bool ux_segment_is_joined(const struct ux_segment *s) {
  return s->live >= 0 && s->fork_count == ux_segment_forks;
}

/* A path of a name: 0, EINVAL, ENAMETOOLONG. */
int ux_segment_path(const char *name, char path[UX_SEGMENT_NAME_SIZE + 32]);

/* Bytes of the file that are locked: of slots, of roles, of slots that are
   being taken, of the name that is being removed. */
#define UX_BYTE_SLOTS (INT64_C(1) << 40)
#define UX_BYTE_ROLES (INT64_C(1) << 41)
#define UX_BYTE_JOINS (INT64_C(1) << 42)
#define UX_BYTE_NAME (INT64_C(1) << 43)

#endif
