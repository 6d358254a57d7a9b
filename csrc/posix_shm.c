/***
POSIX shared memory: bytes under a name that any process can open and map; and
memfds, the same without a name, passed on to children and over sockets.

A new segment gets its name when it is complete: nobody opens one that has no
size yet. Its space is really there: what the system cannot give is ENOSPC when
it is made, not SIGBUS when it is used.

Names are as for `posix_mq`.
@module unixipc.posix_shm
*/
#include "base/class.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/posix_name.h"
#include "base/space.h"
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct shm {
  struct ux_object head;
  int fd;
  bool is_temporary, is_memfd;
  char name[UX_POSIX_NAME_SIZE];
};

static const struct ux_class shm_class;

static struct shm *check_shm(lua_State *L) {
  return ux_check_open(L, 1, &shm_class);
}

static int fail(lua_State *L, int err, const char *call, const struct shm *s) {
  return ux_posix_name_fail(L, err, call, s->name);
}

/* ---- size -------------------------------------------------------------- */

/* Sets the size, and has the space really given. 0 or an errno. */
static int set_size(lua_State *L, int fd, off_t size) {
  struct stat st;
  if (fstat(fd, &st) != 0) return errno;
  if (size > st.st_size) return ux_space_grow(L, fd, size);
  return ftruncate(fd, size) == 0 ? 0 : errno;
}

static off_t check_size(lua_State *L, int arg) {
  lua_Integer size = luaL_checkinteger(L, arg);
  luaL_argcheck(L, size >= 0 && size <= INT64_MAX, arg, "size must be >= 0");
  return (off_t)size;
}

/* ---- opening ----------------------------------------------------------- */

struct open_options {
  bool create, exclusive, readonly, truncate, temporary;
  mode_t mode;
  lua_Integer size;
};

#define MEMBER(name) offsetof(struct open_options, name)

static const struct ux_option open_schema[] = {
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"exclusive", UX_OPT_BOOLEAN, MEMBER(exclusive), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"size", UX_OPT_INTEGER, MEMBER(size), 0, LUA_MAXINTEGER, NULL},
  {"readonly", UX_OPT_BOOLEAN, MEMBER(readonly), 0, 0, NULL},
  {"truncate", UX_OPT_BOOLEAN, MEMBER(truncate), 0, 0, NULL},
  {"temporary", UX_OPT_BOOLEAN, MEMBER(temporary), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

#define DIRECTORY "/dev/shm"

/* Where the system can make a file without a name, the name comes last. */
#ifdef O_TMPFILE

static int make_nameless(mode_t mode) {
  return open(DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
}

static int give_name(int fd, const char *name) {
  char from[32], to[sizeof DIRECTORY + UX_POSIX_NAME_SIZE];
  snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
  snprintf(to, sizeof to, "%s%s", DIRECTORY, name);
  int failed = linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
  return failed == 0 ? 0 : errno;
}

#else

static int make_nameless(mode_t mode) {
  (void)mode;
  errno = EOPNOTSUPP;
  return -1;
}

static int give_name(int fd, const char *name) {
  (void)fd, (void)name;
  return EOPNOTSUPP;
}

#endif

/* Elsewhere it is there from the first moment on, but nobody else has the
   right to open it until its mode is set, at the end. */
static int make_named(const char *name, bool *is_named) {
  int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0);
  *is_named = fd >= 0;
  return fd;
}

/* s->fd is closed by whoever closes s. */
static int make(lua_State *L, struct shm *s, const struct open_options *o) {
  bool is_named = false;
  if (o->size == 0) return EINVAL;
  s->fd = make_nameless(o->mode);
  if (s->fd < 0) s->fd = make_named(s->name, &is_named);
  if (s->fd < 0) return errno;
  s->head.open = true;
  s->is_temporary = is_named; /* until it is complete */
  int err = set_size(L, s->fd, (off_t)o->size);
  if (err == 0 && fchmod(s->fd, o->mode) != 0) err = errno;
  if (err == 0 && !is_named) err = give_name(s->fd, s->name);
  return err;
}

static int open_existing(lua_State *L, struct shm *s,
                         const struct open_options *o) {
  struct stat st;
  s->fd = shm_open(s->name, (o->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC, 0);
  if (s->fd < 0) return errno;
  s->head.open = true;
  if (!o->truncate) return 0;
  if (fstat(s->fd, &st) != 0) return errno;
  if (ftruncate(s->fd, 0) != 0) return errno;
  return o->size > 0 ? set_size(L, s->fd, (off_t)o->size) : 0;
}

static void close_shm(struct shm *s) {
  if (!s->head.open) return;
  s->head.open = false;
  if (s->is_temporary && ux_is_owner(&s->head)) shm_unlink(s->name);
  ux_fd_close(&s->fd);
}

/* To read only what one has made would be of no use: it is opened again. */
static int make_new(lua_State *L, struct shm *s,
                    const struct open_options *o) {
  const struct open_options again = {.readonly = true};
  int err = make(L, s, o);
  if (err == 0 && o->readonly) {
    ux_fd_close(&s->fd);
    err = open_existing(L, s, &again);
  }
  s->is_temporary = err == 0 && o->temporary;
  return err;
}

static int make_or_open(lua_State *L, struct shm *s,
                        const struct open_options *o, bool *is_new) {
  int err;
  do { /* again when it came or went between the two */
    if (!o->exclusive) {
      err = open_existing(L, s, o);
      if (err != ENOENT || !o->create) return err;
    }
    err = make_new(L, s, o);
    *is_new = err == 0;
    if (err != 0) close_shm(s);
  } while (err == EEXIST && !o->exclusive);
  return err;
}

/***
Opens a segment.

Options: `create`: make it if it is not there, of `size` bytes, all zeros;
`exclusive`: it must not be there; `mode`: of a new one, owner only by default,
whatever the umask; `readonly`; `truncate`: empty one that is there, then set
its size; `temporary`: remove the name when this process closes the segment, if
this call made it. The size of one that is there is not changed, whatever
`size` says.
@function open
@tparam string|nil name nil makes a new one with a name of its own
@tparam[opt] table options
@treturn[1] Shm
@treturn[1] boolean whether this call made it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EEXIST, EACCES (permissions; a second
slash), EINVAL (the name; to make one without a size), ENAMETOOLONG, EMFILE,
ENFILE, ENOSPC (no such space), EFBIG
@see shm_open(3)
*/
static int l_open(lua_State *L) {
  struct open_options o = {.mode = UX_DEFAULT_MODE};
  bool is_new = false;
  int err;
  ux_check_options(L, 2, open_schema, &o);
  struct shm *s = ux_new(L, &shm_class);
  s->fd = -1;
  if (!ux_posix_name_check(L, 1, s->name, &err, NAME_MAX)) {
    ux_posix_name_make(s->name);
    o.exclusive = true;
  }
  if (err == 0) err = make_or_open(L, s, &o, &is_new);
  if (err != 0) {
    close_shm(s);
    return fail(L, err, "shm_open", s);
  }
  lua_pushboolean(L, is_new);
  return 2;
}

/***
Removes the name. Who has the segment open or mapped keeps it.
@function unlink
@tparam string name
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES, EINVAL, ENAMETOOLONG
@see shm_unlink(3)
*/
static int l_unlink(lua_State *L) {
  const char *name = ux_check_cstring(L, 1);
  int err = ux_posix_name_error(name, NAME_MAX);
  if (err == 0 && shm_unlink(name) != 0) err = errno;
  if (err == EPERM) err = EACCES; /* a file of another user's */
  return ux_result(L, err, "shm_unlink", name[0] != '\0' ? name : NULL);
}

/***
The names of all segments, where the system shows them: on Linux in /dev/shm.
Named semaphores, which stand there too, are `/sem.*`.
@function list
@treturn[1] table names, in no order
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EACCES
*/
static int l_list(lua_State *L) {
  int err = ux_posix_name_list(L, DIRECTORY, "");
  return err == 0 ? 1 : ux_fail(L, err, "opendir", DIRECTORY);
}

/* ---- memfd ------------------------------------------------------------- */

struct memfd_options {
  lua_Integer size;
  bool huge;
};

static const struct ux_option memfd_schema[] = {
  {"size",
   UX_OPT_INTEGER,
   offsetof(struct memfd_options, size),
   0,
   LUA_MAXINTEGER,
   NULL},
  {"huge", UX_OPT_BOOLEAN, offsetof(struct memfd_options, huge), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static int open_memfd(const char *name, const struct memfd_options *o) {
#ifdef MFD_ALLOW_SEALING
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (o->huge) flags |= MFD_HUGETLB;
  return memfd_create(name, flags);
#else
  (void)name, (void)o;
  errno = ENOTSUP;
  return -1;
#endif
}

/***
Makes a segment without a name, which lives as long as somebody has it open or
mapped.

Options: `size`: in bytes, 0 by default; `huge`: of huge pages.
@function memfd
@tparam[opt="unixipc"] string label that /proc shows
@tparam[opt] table options
@treturn[1] Shm
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (a label of over 249 bytes), EMFILE, ENFILE,
ENOMEM, ENOSPC, EFBIG, ENOTSUP
@see memfd_create(2)
*/
static int l_memfd(lua_State *L) {
  struct memfd_options o = {0};
  const char *label =
    lua_isnoneornil(L, 1) ? "unixipc" : ux_check_cstring(L, 1);
  ux_check_options(L, 2, memfd_schema, &o);
  struct shm *s = ux_new(L, &shm_class);
  s->is_memfd = true;
  s->fd = open_memfd(label, &o);
  if (s->fd < 0) return ux_fail(L, errno, "memfd_create", NULL);
  s->head.open = true;
  int err = set_size(L, s->fd, (off_t)o.size);
  if (err == 0) return 1;
  close_shm(s);
  return ux_fail(L, err, "memfd_create", NULL);
}

/***
Shared memory that a descriptor stands for: a memfd that came over a socket, or
that was inherited. It gets a duplicate of its own, close-on-exec.
@function from
@tparam integer|file|object descriptor
@treturn[1] Shm
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EBADF, EMFILE, EINVAL (not a file)
@see fcntl(2)
*/
static int l_from(lua_State *L) {
  struct stat st;
  int fd = ux_check_fd(L, 1);
  struct shm *s = ux_new(L, &shm_class);
  if (fstat(fd, &st) != 0) return ux_fail(L, errno, "fstat", NULL);
  if (!S_ISREG(st.st_mode)) return ux_fail(L, EINVAL, "fstat", NULL);
  s->is_memfd = st.st_nlink == 0;
  s->fd = ux_fd_dup(fd);
  if (s->fd < 0) return ux_fail(L, errno, "fcntl", NULL);
  s->head.open = true;
  return 1;
}

/* Seals, in the order of the words. */
static const char *const seal_words[] = {
  "seal", "shrink", "grow", "write", "future_write", NULL};

static const int seal_bits[] = {
#ifdef F_SEAL_SEAL
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_GROW,
  F_SEAL_WRITE,
#ifdef F_SEAL_FUTURE_WRITE
  F_SEAL_FUTURE_WRITE,
#else
  0,
#endif
#else
  0,
  0,
  0,
  0,
  0,
#endif
};

/***
Forbids something for ever, to everybody: `"shrink"`, `"grow"`, `"write"`,
`"future_write"` (but what is mapped goes on), `"seal"` (any more seals).
@function Shm:seal
@tparam string ... words
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (sealed against seals, not a memfd), EBUSY
("write", and it is mapped to be written), EINVAL
@see fcntl(2)
*/
static int l_seal(lua_State *L) {
  const struct shm *s = check_shm(L);
  int bits = 0, err = ENOTSUP;
  for (int arg = 2; arg <= lua_gettop(L); arg++)
    bits |= seal_bits[ux_check_word(L, arg, NULL, seal_words)];
#ifdef F_ADD_SEALS
  err = fcntl(s->fd, F_ADD_SEALS, bits) == 0 ? 0 : errno;
#endif
  if (err != 0) return fail(L, err, "fcntl", s);
  lua_pushboolean(L, 1);
  return 1;
}

/***
What was forbidden.
@function Shm:seals
@treturn[1] table a list of words
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (not a memfd)
@see fcntl(2)
*/
static int l_seals(lua_State *L) {
  const struct shm *s = check_shm(L);
  int bits = -1;
  lua_Integer n = 0;
#ifdef F_GET_SEALS
  bits = fcntl(s->fd, F_GET_SEALS);
#else
  errno = ENOTSUP;
#endif
  if (bits < 0) return fail(L, errno, "fcntl", s);
  lua_newtable(L);
  for (int i = 0; seal_words[i] != NULL; i++) {
    if (!(bits & seal_bits[i])) continue;
    lua_pushstring(L, seal_words[i]);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* ---- Shm --------------------------------------------------------------- */

/***
Closes the descriptor; the segment and what is mapped of it stay. Also what
`<close>` and the collector do.
@function Shm:close
@treturn boolean true
*/
static int l_close(lua_State *L) {
  close_shm(ux_check(L, 1, &shm_class));
  lua_pushboolean(L, 1);
  return 1;
}

static int fileno_of(const void *self) {
  const struct shm *s = self;
  return s->fd;
}

static void describe(lua_State *L, const void *self) {
  const struct shm *s = self;
  lua_pushfstring(
    L, "posix_shm segment fd=%d %s", s->fd, s->is_memfd ? "(memfd)" : s->name);
}

/***
How many bytes it has.
@function Shm:size
@treturn[1] integer
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno
@see fstat(2)
*/
static int l_size(lua_State *L) {
  const struct shm *s = check_shm(L);
  struct stat st;
  if (fstat(s->fd, &st) != 0) return fail(L, errno, "fstat", s);
  lua_pushinteger(L, st.st_size);
  return 1;
}

/***
Sets the size. What is new is zeros. Who has mapped what goes away must not
touch it any more.
@function Shm:truncate
@tparam integer size in bytes
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOSPC (the size is what it was), EFBIG, EPERM
(sealed), EINVAL (opened to read only)
@see ftruncate(2)
@see posix_fallocate(3)
*/
static int l_truncate(lua_State *L) {
  struct shm *s = check_shm(L);
  off_t size = check_size(L, 2);
  int err = set_size(L, s->fd, size);
  if (err == EBADF) err = EINVAL; /* fallocate's word for ftruncate's */
  if (err != 0) return fail(L, err, "ftruncate", s);
  lua_pushboolean(L, 1);
  return 1;
}

struct map_options {
  lua_Integer offset, size;
  bool readonly, is_private;
};

#define MAP_MEMBER(name) offsetof(struct map_options, name)

static const struct ux_option map_schema[] = {
  {"offset", UX_OPT_INTEGER, MAP_MEMBER(offset), 0, INT64_MAX, NULL},
  {"size", UX_OPT_INTEGER, MAP_MEMBER(size), 1, INT64_MAX, NULL},
  {"readonly", UX_OPT_BOOLEAN, MAP_MEMBER(readonly), 0, 0, NULL},
  {"private", UX_OPT_BOOLEAN, MAP_MEMBER(is_private), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static int release_map(struct ux_region *r) {
  return munmap(r->base, r->length) == 0 ? 0 : errno;
}

/* What is not there is not mapped: touching it would be SIGBUS. */
static int map(const struct shm *s, const struct map_options *o,
               struct ux_region *r) {
  struct stat st;
  if (fstat(s->fd, &st) != 0) return errno;
  lua_Integer rest = st.st_size - o->offset;
  lua_Integer size = o->size > 0 ? o->size : rest;
  if (size <= 0 || size > rest) return EINVAL;
  void *base = mmap(NULL,
                    (size_t)size,
                    PROT_READ | (o->readonly ? 0 : PROT_WRITE),
                    o->is_private ? MAP_PRIVATE : MAP_SHARED,
                    s->fd,
                    (off_t)o->offset);
  if (base == MAP_FAILED) return errno;
  ux_region_set(r, base, (size_t)size, o->readonly);
  return 0;
}

/***
Maps it, or a part of it. The segment may be closed after that.

Options: `offset`, of whole pages; `size`, all that follows by default;
`readonly`; `private`: changes are seen by nobody else.
@function Shm:map
@tparam[opt] table options
@treturn[1] Region
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (beyond the end, empty, the offset), EACCES
(opened to read only), EPERM (sealed), ENOMEM
@see mmap(2)
*/
static int l_map(lua_State *L) {
  const struct shm *s = check_shm(L);
  struct map_options o = {0};
  ux_check_options(L, 2, map_schema, &o);
  ux_region_open(L);
  struct ux_region *r = ux_region_new(L, "posix_shm", release_map);
  if (s->name[0] != '\0') {
    lua_pushstring(L, s->name);
    lua_setiuservalue(L, -2, UX_REGION_NAME);
  }
  int err = map(s, &o, r);
  return err == 0 ? 1 : fail(L, err, "mmap", s);
}

/***
The name it was opened by; nil for a memfd.
@function Shm:name
@treturn string|nil
*/
static int l_name(lua_State *L) {
  const struct shm *s = ux_check(L, 1, &shm_class);
  if (s->name[0] != '\0')
    lua_pushstring(L, s->name);
  else
    lua_pushnil(L);
  return 1;
}

static const luaL_Reg shm_methods[] = {
  {"size", l_size},
  {"truncate", l_truncate},
  {"map", l_map},
  {"seal", l_seal},
  {"seals", l_seals},
  {"name", l_name},
  {NULL, NULL},
};

static const struct ux_class shm_class = {
  .name = "posix_shm segment",
  .size = sizeof(struct shm),
  .methods = shm_methods,
  .close = l_close,
  .describe = describe,
  .fileno = fileno_of,
};

static const luaL_Reg functions[] = {
  {"open", l_open},
  {"memfd", l_memfd},
  {"from", l_from},
  {"unlink", l_unlink},
  {"list", l_list},
  {NULL, NULL},
};

int ux_open_posix_shm(lua_State *L) {
  luaL_newlib(L, functions);
  ux_class_open(L, &shm_class);
  lua_setfield(L, -2, "Shm");
  return 1;
}
