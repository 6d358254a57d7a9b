#include "base/notes.h"

#include "base/process_id.h"
#include "base/region.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Room for a burst; a power of two. The kernel keeps what does not fit. */
#define ROOM 1024
/* Kept free for signals that are noted by other threads at the same time, or
   were let in before the mask took effect. */
#define SPARE 128

enum slot_state { SLOT_FREE, SLOT_FULL, SLOT_TAKEN };

struct slot {
  _Atomic int state;
  siginfo_t info;
};

/* Written by handlers at head, any thread; read at tail by the owner. */
static struct {
  _Atomic unsigned head, tail;
  struct slot slots[ROOM];
} ring;

static pthread_t owner;
static pid_t owner_tid;
static _Atomic bool has_owner;
static sigset_t held; /* by the owner, or by a handler in its thread */
static _Atomic bool is_holding;

void (*ux_notes_wake)(void);

static struct slot *slot_at(unsigned i) {
  return &ring.slots[i % ROOM];
}

/* ---- in the handler ---------------------------------------------------- */

/* What is in the context's mask is blocked when the handler has returned. In a
   thread that is not the owner's it stays so: the signal goes to the owner. */
static void hold(int sig, ucontext_t *context) {
  sigaddset(&context->uc_sigmask, sig);
  if (!pthread_equal(owner, pthread_self())) return;
  sigaddset(&held, sig);
  atomic_store(&is_holding, true);
}

static void wake_owner(void) {
  if (pthread_equal(owner, pthread_self())) {
    ux_region_poke();
    if (ux_notes_wake != NULL) ux_notes_wake();
  } else {
    pthread_kill(owner, UX_SIGNAL_TICK);
  }
}

/* Memory that faults would fault again on return, for ever: let it end. */
static bool is_fault(int sig, const siginfo_t *info) {
  return info->si_code > 0 &&
         (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL);
}

/* The next free slot, or NULL. */
static struct slot *claim_slot(void) {
  unsigned i = atomic_load(&ring.head);
  do {
    if (i - atomic_load(&ring.tail) >= ROOM) return NULL;
  } while (!atomic_compare_exchange_weak(&ring.head, &i, i + 1));
  return slot_at(i);
}

/* Very many threads got signals before any of them was held: the owner's
   thread gets it again, and holds it too if there is still no room. Only to
   itself may a thread send all that the kernel told. */
static void send_again(int sig, siginfo_t *info) {
#ifdef __linux__
  if (syscall(SYS_rt_tgsigqueueinfo, getpid(), owner_tid, sig, info) == 0)
    return;
#else
  (void)info;
#endif
  pthread_kill(owner, sig);
}

static void on_signal(int sig, siginfo_t *info, void *context) {
  int err = errno;
  if (is_fault(sig, info)) {
    signal(sig, SIG_DFL);
    return;
  }
  struct slot *slot = claim_slot();
  if (slot != NULL) {
    slot->info = *info;
    slot->info.si_signo = sig;
    atomic_store_explicit(&slot->state, SLOT_FULL, memory_order_release);
  }
  if (ux_notes_count() >= ROOM - SPARE) hold(sig, context);
  if (atomic_load(&has_owner)) {
    if (slot == NULL) send_again(sig, info);
    wake_owner();
  }
  errno = err;
}

/* ---- owning ------------------------------------------------------------ */

static void set_owner(void) {
  owner = pthread_self();
#ifdef __linux__
  owner_tid = gettid();
#endif
}

/* In a child nothing is pending: its notes are its parent's. Signals held back
   are let in. */
static void after_fork(void) {
  ux_notes_clear();
  if (atomic_load(&has_owner)) set_owner();
  ux_notes_release();
}

/* Another thread noted something for this one. */
static void on_tick(void) {
  if (ux_notes_count() == 0) return;
  ux_region_poke();
  if (ux_notes_wake != NULL) ux_notes_wake();
}

static void prepare(void) {
  sigemptyset(&held);
  pthread_atfork(NULL, NULL, after_fork);
  ux_region_on_tick = on_tick;
}

int ux_notes_own(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, prepare);
  set_owner();
  atomic_store(&has_owner, true);
  return ux_region_prepare();
}

void ux_notes_disown(void) {
  atomic_store(&has_owner, false);
  ux_notes_wake = NULL;
}

int ux_notes_install(int sig, int flags, struct sigaction *old) {
  struct sigaction sa = {.sa_flags = flags | SA_SIGINFO};
  sa.sa_sigaction = on_signal;
  sigfillset(&sa.sa_mask); /* one handler at a time */
  return sigaction(sig, &sa, old) == 0 ? 0 : errno;
}

bool ux_notes_is_ours(const struct sigaction *sa) {
  return (sa->sa_flags & SA_SIGINFO) && sa->sa_sigaction == on_signal;
}

/* ---- reading: the owner alone ------------------------------------------ */

/* Gives slots back, from the tail on, that were taken out of turn. */
static void advance_tail(void) {
  unsigned tail = atomic_load(&ring.tail);
  while (tail != atomic_load(&ring.head) &&
         atomic_load(&slot_at(tail)->state) == SLOT_TAKEN) {
    atomic_store(&slot_at(tail)->state, SLOT_FREE);
    atomic_store(&ring.tail, ++tail);
  }
}

static struct slot *find(const sigset_t *deferred) {
  unsigned head = atomic_load(&ring.head);
  for (unsigned i = atomic_load(&ring.tail); i != head; i++) {
    struct slot *slot = slot_at(i);
    int state = atomic_load_explicit(&slot->state, memory_order_acquire);
    if (state == SLOT_FULL && !sigismember(deferred, slot->info.si_signo))
      return slot;
  }
  return NULL;
}

bool ux_notes_any(const sigset_t *deferred) {
  return find(deferred) != NULL;
}

unsigned ux_notes_count(void) {
  return atomic_load(&ring.head) - atomic_load(&ring.tail);
}

bool ux_notes_take(const sigset_t *deferred, siginfo_t *info) {
  struct slot *slot = find(deferred);
  if (slot == NULL) return false;
  *info = slot->info;
  atomic_store(&slot->state, SLOT_TAKEN);
  advance_tail();
  return true;
}

void ux_notes_release(void) {
  sigset_t all, old;
  if (!atomic_load(&is_holding) || ux_notes_count() > ROOM / 2) return;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  ux_notes_fix_mask(&old);
  sigemptyset(&held);
  atomic_store(&is_holding, false);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

sigset_t ux_notes_held(void) {
  return held;
}

void ux_notes_fix_mask(sigset_t *mask) {
  for (int sig = 1; sig < NSIG; sig++)
    if (sigismember(&held, sig) == 1) sigdelset(mask, sig);
}

void ux_notes_keep_held(sigset_t *mask) {
  if (!atomic_load(&is_holding)) return;
  for (int sig = 1; sig < NSIG; sig++)
    if (sigismember(&held, sig) == 1) sigaddset(mask, sig);
}

void ux_notes_forget_held(const sigset_t *set) {
  for (int sig = 1; sig < NSIG; sig++)
    if (sigismember(set, sig) == 1) sigdelset(&held, sig);
}

void ux_notes_clear(void) {
  siginfo_t info;
  sigset_t none;
  sigemptyset(&none);
  while (ux_notes_take(&none, &info)) {
  }
}

/* To let signals in may fill the ring again. */
void ux_notes_drain(void) {
  do {
    ux_notes_clear();
    ux_notes_release();
  } while (atomic_load(&is_holding));
}
