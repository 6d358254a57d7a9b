/* What C signal handlers leave behind: a note for each signal, in the order in
   which they came. A handler only notes and wakes. When there is hardly room
   left it leaves the signals blocked, so that the kernel keeps them: none is
   lost, and queued ones stay in order. */
#ifndef UX_BASE_NOTES_H
#define UX_BASE_NOTES_H

#include "lib/feature.h"

#include <signal.h>
#include <stdbool.h>

/* Called by the handler, in the thread that ux_notes_own was called in. */
extern void (*ux_notes_wake)(void);

/* This thread is to be woken. 0 or an errno. */
int ux_notes_own(void);

/* Nobody is to be woken any more. */
void ux_notes_disown(void);

/* Lets the handler take a signal, with further SA_ flags. *old is what was
   there. 0 or an errno. */
int ux_notes_install(int sig, int flags, struct sigaction *old);

/* Was this put there by ux_notes_install? */
bool ux_notes_is_ours(const struct sigaction *sa);

/* Is there a note of a signal that is not in `deferred`? */
bool ux_notes_any(const sigset_t *deferred);

/* How many notes there are at most. */
unsigned ux_notes_count(void);

/* Takes the oldest note that is not deferred; false when there is none. */
bool ux_notes_take(const sigset_t *deferred, siginfo_t *info);

/* Lets the signals in again that were left blocked, now that there is room. */
void ux_notes_release(void);

/* Signals that are blocked for that reason only; and a mask without them. */
sigset_t ux_notes_held(void);
void ux_notes_fix_mask(sigset_t *mask);

/* Adds them to a mask that is to be put back: one that was read before a
   handler may have run. */
void ux_notes_keep_held(sigset_t *mask);

/* The user wants these blocked, or not: no longer for that reason. */
void ux_notes_forget_held(const sigset_t *set);

/* Drops all notes; and also those of the signals that were held back. */
void ux_notes_clear(void);
void ux_notes_drain(void);

#endif
