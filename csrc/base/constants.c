#include "base/constants.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED(name) \
  { #name, name }

/* clang-format off */

/* Where two names share a number the one to be shown comes first. */
const struct ux_constant ux_signals[] = {
  NAMED(SIGHUP),  NAMED(SIGINT),    NAMED(SIGQUIT), NAMED(SIGILL),
  NAMED(SIGTRAP), NAMED(SIGABRT),   NAMED(SIGBUS),  NAMED(SIGFPE),
  NAMED(SIGKILL), NAMED(SIGUSR1),   NAMED(SIGSEGV), NAMED(SIGUSR2),
  NAMED(SIGPIPE), NAMED(SIGALRM),   NAMED(SIGTERM), NAMED(SIGCHLD),
  NAMED(SIGCONT), NAMED(SIGSTOP),   NAMED(SIGTSTP), NAMED(SIGTTIN),
  NAMED(SIGTTOU), NAMED(SIGURG),    NAMED(SIGXCPU), NAMED(SIGXFSZ),
  NAMED(SIGPROF), NAMED(SIGVTALRM), NAMED(SIGSYS),  NAMED(SIGWINCH),
  NAMED(SIGIO),
#ifdef SIGPOLL
  NAMED(SIGPOLL),
#endif
#ifdef SIGPWR
  NAMED(SIGPWR),
#endif
#ifdef SIGSTKFLT
  NAMED(SIGSTKFLT),
#endif
  {NULL, 0},
};

const struct ux_constant ux_errnos[] = {
  NAMED(EPERM),           NAMED(ENOENT),          NAMED(ESRCH),
  NAMED(EINTR),           NAMED(EIO),             NAMED(ENXIO),
  NAMED(E2BIG),           NAMED(ENOEXEC),         NAMED(EBADF),
  NAMED(ECHILD),          NAMED(EAGAIN),          NAMED(EWOULDBLOCK),
  NAMED(ENOMEM),          NAMED(EACCES),          NAMED(EFAULT),
  NAMED(ENOTBLK),         NAMED(EBUSY),           NAMED(EEXIST),
  NAMED(EXDEV),           NAMED(ENODEV),          NAMED(ENOTDIR),
  NAMED(EISDIR),          NAMED(EINVAL),          NAMED(ENFILE),
  NAMED(EMFILE),          NAMED(ENOTTY),          NAMED(ETXTBSY),
  NAMED(EFBIG),           NAMED(ENOSPC),          NAMED(ESPIPE),
  NAMED(EROFS),           NAMED(EMLINK),          NAMED(EPIPE),
  NAMED(EDOM),            NAMED(ERANGE),          NAMED(EDEADLK),
  NAMED(ENAMETOOLONG),    NAMED(ENOLCK),          NAMED(ENOSYS),
  NAMED(ENOTEMPTY),       NAMED(ELOOP),           NAMED(ENOMSG),
  NAMED(EIDRM),           NAMED(EILSEQ),          NAMED(EUSERS),
  NAMED(ENOTSOCK),        NAMED(EDESTADDRREQ),    NAMED(EMSGSIZE),
  NAMED(EPROTOTYPE),      NAMED(ENOPROTOOPT),     NAMED(EPROTONOSUPPORT),
  NAMED(ESOCKTNOSUPPORT), NAMED(EOPNOTSUPP),      NAMED(ENOTSUP),
  NAMED(EPFNOSUPPORT),    NAMED(EAFNOSUPPORT),    NAMED(EADDRINUSE),
  NAMED(EADDRNOTAVAIL),   NAMED(ENETDOWN),        NAMED(ENETUNREACH),
  NAMED(ENETRESET),       NAMED(ECONNABORTED),    NAMED(ECONNRESET),
  NAMED(ENOBUFS),         NAMED(EISCONN),         NAMED(ENOTCONN),
  NAMED(ESHUTDOWN),       NAMED(ETOOMANYREFS),    NAMED(ETIMEDOUT),
  NAMED(ECONNREFUSED),    NAMED(EHOSTDOWN),       NAMED(EHOSTUNREACH),
  NAMED(EALREADY),        NAMED(EINPROGRESS),     NAMED(ESTALE),
  NAMED(EDQUOT),          NAMED(ECANCELED),       NAMED(EOVERFLOW),
  NAMED(EBADMSG),         NAMED(EPROTO),          NAMED(EMULTIHOP),
  NAMED(ENOLINK),         NAMED(ENOTRECOVERABLE), NAMED(EOWNERDEAD),
#ifdef __linux__
  NAMED(ECHRNG),          NAMED(EL2NSYNC),        NAMED(EL3HLT),
  NAMED(EL3RST),          NAMED(ELNRNG),          NAMED(EUNATCH),
  NAMED(ENOCSI),          NAMED(EL2HLT),          NAMED(EBADE),
  NAMED(EBADR),           NAMED(EXFULL),          NAMED(ENOANO),
  NAMED(EBADRQC),         NAMED(EBADSLT),         NAMED(EDEADLOCK),
  NAMED(EBFONT),          NAMED(ENOSTR),          NAMED(ENODATA),
  NAMED(ETIME),           NAMED(ENOSR),           NAMED(ENONET),
  NAMED(ENOPKG),          NAMED(EREMOTE),         NAMED(EADV),
  NAMED(ESRMNT),          NAMED(ECOMM),           NAMED(EDOTDOT),
  NAMED(ENOTUNIQ),        NAMED(EBADFD),          NAMED(EREMCHG),
  NAMED(ELIBACC),         NAMED(ELIBBAD),         NAMED(ELIBSCN),
  NAMED(ELIBMAX),         NAMED(ELIBEXEC),        NAMED(ERESTART),
  NAMED(ESTRPIPE),        NAMED(EUCLEAN),         NAMED(ENOTNAM),
  NAMED(ENAVAIL),         NAMED(EISNAM),          NAMED(EREMOTEIO),
  NAMED(ENOMEDIUM),       NAMED(EMEDIUMTYPE),     NAMED(ENOKEY),
  NAMED(EKEYEXPIRED),     NAMED(EKEYREVOKED),     NAMED(EKEYREJECTED),
  NAMED(ERFKILL),         NAMED(EHWPOISON),
#endif
  {NULL, 0},
};

/* clang-format on */

const char *ux_constant_name(const struct ux_constant *table, int value) {
  for (; table->name != NULL; table++)
    if (table->value == value) return table->name;
  return NULL;
}

int ux_constant_value(const struct ux_constant *table, const char *name) {
  for (; table->name != NULL; table++)
    if (strcmp(table->name, name) == 0) return table->value;
  return -1;
}

/* ---- signals ----------------------------------------------------------- */

/* Names by number, made once: handlers are told them all the time. */
static char names[NSIG][sizeof "SIGRTMIN+99"];

static void make_names(void) {
  for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
    snprintf(names[sig], sizeof names[sig], "SIGRTMIN+%d", sig - SIGRTMIN);
  strcpy(names[SIGRTMIN], "SIGRTMIN");
  strcpy(names[SIGRTMAX], "SIGRTMAX");
  for (int sig = 1; sig < NSIG; sig++) {
    const char *name = ux_constant_name(ux_signals, sig);
    if (name != NULL) strcpy(names[sig], name);
  }
}

void ux_push_signal(lua_State *L, int sig) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_names);
  if (sig > 0 && sig < NSIG && names[sig][0] != '\0')
    lua_pushstring(L, names[sig]);
  else
    lua_pushfstring(L, "signal %d", sig);
}

/* What follows SIGRTMIN or SIGRTMAX: nothing, or a sign and digits. */
static int parse_realtime(int base, char sign, const char *rest) {
  char *end;
  if (*rest == '\0') return base;
  if (*rest != sign || rest[1] < '0' || rest[1] > '9') return -1;
  long n = strtol(rest, &end, 10);
  if (*end != '\0' || labs(n) > SIGRTMAX - SIGRTMIN) return -1;
  return base + (int)n;
}

static int parse_signal(const char *name) {
  char full[sizeof "SIGVTALRM" + sizeof "SIG"] = "SIG";
  if (strncmp(name, "SIG", 3) == 0) name += 3;
  if (strncmp(name, "RTMIN", 5) == 0)
    return parse_realtime(SIGRTMIN, '+', name + 5);
  if (strncmp(name, "RTMAX", 5) == 0)
    return parse_realtime(SIGRTMAX, '-', name + 5);
  if (strlen(name) + sizeof "SIG" > sizeof full) return -1;
  return ux_constant_value(ux_signals, strcat(full, name));
}

int ux_check_signal_in(lua_State *L, int index, int arg) {
  size_t len;
  if (lua_type(L, index) == LUA_TNUMBER) {
    int is_integer;
    lua_Integer n = lua_tointegerx(L, index, &is_integer);
    luaL_argcheck(
      L, is_integer && n >= 0 && n <= INT_MAX, arg, "no signal number");
    return (int)n;
  }
  if (lua_type(L, index) != LUA_TSTRING)
    luaL_argerror(
      L,
      arg,
      lua_pushfstring(L,
                      "name or number of a signal expected, got %s",
                      luaL_typename(L, index)));
  const char *name = lua_tolstring(L, index, &len);
  luaL_argcheck(
    L, strlen(name) == len, arg, "string contains an embedded zero");
  int sig = parse_signal(name);
  if (sig < 0)
    luaL_argerror(L, arg, lua_pushfstring(L, "unknown signal '%s'", name));
  return sig;
}

int ux_check_signal(lua_State *L, int arg) {
  return ux_check_signal_in(L, arg, arg);
}
