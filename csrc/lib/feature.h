/* The one place that asks for what is beyond ISO C, and that says what this
   system has. Include it first, before any header of the system. */
#ifndef UX_LIB_FEATURE_H
#define UX_LIB_FEATURE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* on glibc: POSIX 2008 and Linux's own calls */
#endif

#ifdef __linux__
#define UX_HAVE_PIDFD 1
#define UX_HAVE_EPOLL 1
#define UX_HAVE_RWF 1          /* preadv2 / pwritev2 with flags */
#define UX_HAVE_THREAD_TIMER 1 /* SIGEV_THREAD_ID */
#define UX_HAVE_PDEATHSIG 1    /* prctl tells of the parent's end */
#endif

#ifdef __APPLE__
#define UX_MAXRSS_UNIT 1 /* bytes of ru_maxrss */
#else
#define UX_MAXRSS_UNIT 1024
#endif

#endif
