/* Requests of many clients to many servers: a queue, whose messages stay taken
   until the reply, and a ring of replies for each slot. */
#include "lib/ring_queue.h"
#include "lib/ring_spsc.h"

/* Stands before the bytes of requests and replies. client: whom a reply is
   for: its ring may be another one's by now. */
struct service_head {
  uint64_t id;
  uint32_t is_failed, client;
};

_Static_assert(sizeof(struct service_head) == UX_SERVICE_HEAD, "head");

static int put_with_head(struct ux_ring *r, const struct service_head *head,
                         const struct iovec *iov, int count, unsigned mark) {
  struct iovec all[UX_SERVICE_PIECES + 1];
  if (count > UX_SERVICE_PIECES) return EINVAL;
  all[0] = (struct iovec){(void *)(uintptr_t)head, sizeof *head};
  for (int i = 0; i < count; i++) all[i + 1] = iov[i];
  return ux_ring_putv(r, all, count + 1, mark);
}

/* ---- clients ----------------------------------------------------------- */

int ux_service_ask(struct ux_ring *requests, const struct iovec *iov,
                   int count, unsigned mark, uint64_t id) {
  struct service_head head = {.id = id};
  return put_with_head(requests, &head, iov, count, mark);
}

int ux_service_replies(struct ux_ring *replies, struct ux_segment *s) {
  int err = ux_segment_join(s);
  if (err != 0) return err;
  if (s->options.kind != UX_SEGMENT_SERVICE) return EINVAL;
  return ux_ring_init(replies, s, 1 + s->slot);
}

/* A fork has changed our slot: then this is not our ring any more. */
static int check_own(struct ux_ring *replies) {
  int err = ux_ring_begin(replies);
  if (err == 0 && replies->index != 1 + replies->segment->slot)
    err = ux_service_replies(replies, replies->segment);
  return err;
}

static int collect(struct ux_ring *replies, void *buffer, size_t size,
                   struct ux_ring_message *m, struct service_head *head) {
  int err = ux_ring_get(replies, buffer, size, m);
  if (err != 0) return err;
  if (m->length < sizeof *head) return EBADMSG;
  memcpy(head, buffer, sizeof *head);
  m->data = (const char *)buffer + sizeof *head;
  m->length -= sizeof *head;
  return 0;
}

#define STRANGE 1000 /* replies to others, and signals have their turn */

/* Who had the slot before may have left without its replies, or died. */
int ux_service_collect(struct ux_ring *replies, void *buffer, size_t size,
                       struct ux_ring_message *m, uint64_t *id) {
  struct service_head head;
  int err = check_own(replies);
  for (int i = 0; err == 0 && i < STRANGE; i++) {
    err = collect(replies, buffer, size, m, &head);
    if (err != 0 || head.client != ux_segment_self(replies->segment)) continue;
    *id = head.id;
    return head.is_failed ? ECANCELED : 0;
  }
  if (err != 0) return err;
  uint64_t at = ux_get(&replies->at->write_at);
  return ux_ring_wait_for(
    replies, UX_RING_GET, &replies->at->write_at, at - 1);
}

/* ---- servers ----------------------------------------------------------- */

int ux_service_take(struct ux_ring *requests, void *buffer, size_t size,
                    struct ux_service_request *q) {
  struct service_head head;
  struct ux_ring_message *m = &q->message;
  int err = ux_ring_peek(requests, m);
  if (err != 0) return err;
  if (m->length < sizeof head) {
    ux_ring_release(requests, m->position);
    return EBADMSG;
  }
  if (m->length > size) {
    err = ux_ring_untake(requests, m->position);
    return err != 0 ? err : ERANGE;
  }
  memcpy(buffer, m->data, m->length);
  memcpy(&head, buffer, sizeof head);
  UX_STEP("request copied");
  m->data = (const char *)buffer + sizeof head;
  m->length -= sizeof head;
  q->id = head.id;
  return 0;
}

/* To the ring of a client, if that has not left its slot: 0, ECONNRESET, or
   what putting says. */
static int answer(struct ux_ring *requests, struct ux_ring *replies,
                  uint32_t client, const struct service_head *head,
                  const struct iovec *iov, int count, unsigned mark) {
  struct ux_segment *s = requests->segment;
  uint32_t slot = ux_who_slot(client);
  if (slot >= s->options.slots) return EBADMSG;
  if (client != ux_who(slot, ux_see(&s->at->slot[slot].epoch)))
    return ECONNRESET;
  if (replies->segment != s || replies->index != 1 + slot) {
    int err = ux_ring_init(replies, s, 1 + slot);
    if (err != 0) return err;
  }
  int err = put_with_head(replies, head, iov, count, mark);
  bool is_stuck = err == EAGAIN || err == EBUSY;
  return is_stuck && ux_segment_is_dead(s, client) ? ECONNRESET : err;
}

int ux_service_reply(struct ux_ring *requests, struct ux_ring *replies,
                     const struct ux_service_request *q,
                     const struct iovec *iov, int count, unsigned mark) {
  uint32_t client = q->message.from;
  struct service_head head = {.id = q->id, .client = client};
  int err = answer(requests, replies, client, &head, iov, count, mark);
  UX_STEP("replied");
  if (err != 0 && err != ECONNRESET) return err;
  int failed = ux_ring_release(requests, q->message.position);
  return failed != 0 ? failed : err;
}

/* ---- the dead ---------------------------------------------------------- */

bool ux_service_fail(struct ux_ring *r, const struct ux_head *h) {
  const struct ux_segment_options *o = &r->segment->options;
  if (o->kind != UX_SEGMENT_SERVICE || o->retry || r->index != 0 ||
      h->length < sizeof(struct service_head))
    return false;
  struct ux_ring replies = {.segment = NULL};
  struct service_head head;
  memcpy(&head, ux_record_data(h->record), sizeof head);
  head.is_failed = 1;
  head.client = h->from;
  int err = answer(r, &replies, h->from, &head, NULL, 0, 0);
  UX_STEP("failure told");
  if (err == EAGAIN || err == EBUSY) return true; /* another time */
  uint32_t tag = h->tag;
  atomic_compare_exchange_strong(
    &h->record->tag, &tag, ux_tag(UX_RECORD_DONE, 0, 0));
  return true;
}

void ux_service_look(const struct ux_ring *replies) {
  struct ux_ring requests;
  if (ux_ring_init(&requests, replies->segment, 0) != 0) return;
  if (requests.mode->look(&requests, UX_RING_GET))
    ux_ring_notify(&requests, &requests.at->not_empty, true);
}
