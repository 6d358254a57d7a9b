/***
Mapped memory: of files, and of nothing but itself, shared with the children or
private. What `map` gives is a Region; the functions below that begin with
`Region:` work on every region of pages, `posix_shm`'s and `sysv_shm`'s too.

A file that gets shorter takes its pages with it: a process that touches them
gets SIGBUS, which no library can turn into an error without taking the signal
away from the program. Map what nobody cuts: a memfd sealed against it
(`posix_shm`), or a file of one's own.
@module unixipc.mmap
*/
#include "base/error.h"
#include "base/fd.h"
#include "base/modules.h"
#include "base/options.h"
#include "base/space.h"
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char kind[] = "mmap";

/* The detail of a region that can grow with its file is the descriptor; else
   one of these. */
enum { FIXED = -1, PRIVATE = -2 };

static int release(struct ux_region *r) {
  int fd = (int)r->detail;
  int err = munmap(r->base, r->length) == 0 ? 0 : errno;
  if (fd >= 0) ux_fd_close(&fd);
  return err;
}

/* ---- map --------------------------------------------------------------- */

struct map_options {
  int file;
  lua_Integer size, offset;
  bool is_private, readonly, create, extend, resizable;
  bool populate, noreserve, huge;
  mode_t mode;
};

#define MEMBER(name) offsetof(struct map_options, name)

static const struct ux_option map_schema[] = {
  {"file", UX_OPT_VALUE, MEMBER(file), 0, 0, NULL},
  {"size", UX_OPT_INTEGER, MEMBER(size), 0, INT64_MAX, NULL},
  {"offset", UX_OPT_INTEGER, MEMBER(offset), 0, INT64_MAX, NULL},
  {"private", UX_OPT_BOOLEAN, MEMBER(is_private), 0, 0, NULL},
  {"readonly", UX_OPT_BOOLEAN, MEMBER(readonly), 0, 0, NULL},
  {"create", UX_OPT_BOOLEAN, MEMBER(create), 0, 0, NULL},
  {"mode", UX_OPT_MODE, MEMBER(mode), 0, 0, NULL},
  {"extend", UX_OPT_BOOLEAN, MEMBER(extend), 0, 0, NULL},
  {"resizable", UX_OPT_BOOLEAN, MEMBER(resizable), 0, 0, NULL},
  {"populate", UX_OPT_BOOLEAN, MEMBER(populate), 0, 0, NULL},
  {"noreserve", UX_OPT_BOOLEAN, MEMBER(noreserve), 0, 0, NULL},
  {"huge", UX_OPT_BOOLEAN, MEMBER(huge), 0, 0, NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static int flags_of(const struct map_options *o) {
  int flags = o->is_private ? MAP_PRIVATE : MAP_SHARED;
  if (o->file == 0) flags |= MAP_ANONYMOUS;
#ifdef MAP_POPULATE
  if (o->populate) flags |= MAP_POPULATE;
#endif
#ifdef MAP_NORESERVE
  if (o->noreserve) flags |= MAP_NORESERVE;
#endif
#ifdef MAP_HUGETLB
  if (o->huge) flags |= MAP_HUGETLB;
#endif
  return flags;
}

static int open_path(const char *path, const struct map_options *o) {
  bool reads = o->readonly || (o->is_private && !o->create && !o->extend);
  int flags = (reads ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
  int fd = -1;
  if (o->create) fd = open(path, flags | O_CREAT | O_EXCL, o->mode);
  if (fd >= 0) {
    fchmod(fd, o->mode); /* the umask cut it */
    return fd;
  }
  if (o->create && errno != EEXIST) return -1;
  return open(path, flags);
}

struct sizing {
  int fd, err;
  const struct map_options *o;
  size_t size;
};

/* Without a size all that follows the offset is mapped. With `extend` the file
   is made as long as that. 0 or an errno. */
static int find_size(lua_State *L, struct sizing *s) {
  const struct map_options *o = s->o;
  struct stat st;
  if (fstat(s->fd, &st) != 0) return errno;
  s->size = (size_t)o->size;
  if (o->size == 0) {
    if (st.st_size <= o->offset) return EINVAL; /* nothing is there */
    s->size = (size_t)(st.st_size - o->offset);
    return 0;
  }
  if (o->size > INT64_MAX - o->offset) return EOVERFLOW;
  if (!o->extend && !o->create) return 0;
  return ux_space_grow(L, s->fd, (off_t)(o->offset + o->size));
}

static int l_find_size(lua_State *L) {
  struct sizing *s = lua_touserdata(L, 1);
  s->err = find_size(L, s);
  return 0;
}

/* `fd` is -1 for anonymous memory. The region is at the top. */
static int map(lua_State *L, struct ux_region *r, int fd,
               const struct map_options *o, size_t size) {
  int protection = PROT_READ | (o->readonly ? 0 : PROT_WRITE);
  void *base = mmap(NULL, size, protection, flags_of(o), fd, (off_t)o->offset);
  if (base == MAP_FAILED) return errno;
  ux_region_set(r, base, size, o->readonly);
  r->detail = fd < 0 && o->is_private ? PRIVATE : FIXED;
  if (!o->resizable || fd < 0 || o->is_private || o->readonly) return 0;
  r->detail = ux_fd_dup(fd);
  if (r->detail < 0) return errno;
  lua_pushinteger(L, o->offset);
  lua_setiuservalue(L, -2, UX_REGION_USER);
  return 0;
}

static int map_file(lua_State *L, struct ux_region *r,
                    const struct map_options *o) {
  bool is_path = lua_type(L, o->file) == LUA_TSTRING;
  const char *why = NULL;
  int fd = is_path ? open_path(lua_tostring(L, o->file), o)
                   : ux_to_fd(L, o->file, &why);
  if (!is_path && fd < 0)
    luaL_argerror(L, 1, lua_pushfstring(L, "option 'file': %s", why));
  if (fd < 0) return errno;
  struct sizing s = {.fd = fd, .o = o};
  lua_pushcfunction(L,
                    l_find_size); /* handlers may raise: fd is to be closed */
  lua_pushlightuserdata(L, &s);
  bool is_well = lua_pcall(L, 1, 0, 0) == LUA_OK;
  if (is_well && s.err == 0) s.err = map(L, r, fd, o, s.size);
  if (is_path) ux_fd_close(&fd);
  return is_well ? s.err : lua_error(L);
}

static const char *path_of(lua_State *L, const struct map_options *o) {
  if (o->file == 0 || lua_type(L, o->file) != LUA_TSTRING) return NULL;
  return lua_tostring(L, o->file);
}

/***
Maps memory.

Options: `file`: a path, or anything with a descriptor; without it the memory
is anonymous, all zeros. `size`: in bytes; of a file all that follows the
offset by default. `offset`: in the file, of whole pages. `private`: changes
are seen by nobody else; shared by default. `readonly`. `create`, `mode`: make
the file of a path, of `size` bytes. `extend`: make the file longer if it has
not `size` bytes after the offset: beyond its end there is nothing, and to
touch it is SIGBUS. `resizable`: keep the descriptor, for `resize`. `populate`:
have the pages at once; `noreserve`: no swap space for them; `huge`: huge pages.
@function map
@tparam table options
@treturn[1] Region
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (size 0, an empty file, the offset), EACCES
(the file is not open to read; to write, if shared), ENOENT, ENODEV (no such
file can be mapped), ENOMEM, ENOSPC, EOVERFLOW, EPERM (sealed)
@see mmap(2)
*/
static int l_map(lua_State *L) {
  struct map_options o = {.mode = UX_DEFAULT_MODE};
  luaL_checktype(L, 1, LUA_TTABLE);
  ux_check_options(L, 1, map_schema, &o);
  const char *path = path_of(L, &o);
  struct ux_region *r = ux_region_new(L, kind, release);
  if (path != NULL) {
    lua_pushvalue(L, o.file);
    lua_setiuservalue(L, -2, UX_REGION_NAME);
  }
  int err =
    o.file != 0 ? map_file(L, r, &o) : map(L, r, -1, &o, (size_t)o.size);
  return err == 0 ? 1 : ux_fail(L, err, "mmap", path);
}

/***
The size of a page in bytes.
@function page_size
@treturn integer
@see sysconf(3)
*/
static int l_page_size(lua_State *L) {
  lua_pushinteger(L, sysconf(_SC_PAGESIZE));
  return 1;
}

/* ---- Region: what pages can do ----------------------------------------- */

/* The range at args 2 and 3, with the pages it touches. */
struct range {
  char *start;
  size_t length;
};

static void check_has_pages(lua_State *L, const struct ux_region *r) {
  luaL_argcheck(L, !ux_region_is_private(r), 1, "no pages of its own");
}

static struct range check_pages(lua_State *L, struct ux_region *r, int arg) {
  check_has_pages(L, r);
  size_t offset = ux_check_region_offset(L, arg, r);
  size_t n = ux_check_region_count(L, arg + 1, r, offset);
  uintptr_t mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
  size_t before = (uintptr_t)(r->base + offset) & mask;
  return (struct range){r->base + offset - before, n + before};
}

static int result(lua_State *L, int failed, const char *call) {
  return ux_result(L, failed == 0 ? 0 : errno, call, NULL);
}

/***
Writes what was changed to the file, and waits until it is there.
@function Region:sync
@tparam[opt=0] integer offset
@tparam[opt] integer count all that follow, if left out
@tparam[opt="wait"] string how `"wait"`, `"async"`: only begin, or
`"invalidate"`: have other mappings of the file read it anew
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EIO, ENOMEM, EBUSY (locked pages, invalidated)
@see msync(2)
*/
static int l_sync(lua_State *L) {
  static const char *const words[] = {"wait", "async", "invalidate", NULL};
  static const int flags[] = {MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE};
  struct ux_region *r = ux_check_region(L, 1);
  struct range p = check_pages(L, r, 2);
  int how = ux_check_word(L, 4, "wait", words);
  return result(L, msync(p.start, p.length, flags[how]), "msync");
}

/***
What may be done with the region: `"r"`, `"rw"`; or `"none"`, which makes
touching it end the process. A view cannot be changed apart from its region.
@function Region:protect
@tparam string how
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES (mapped from what is open to read only),
ENOMEM, EINVAL (not of pages), EBUSY (a lock in it is held)
@see mprotect(2)
*/
static int l_protect(lua_State *L) {
  static const char *const words[] = {"none", "r", "rw", NULL};
  static const int bits[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
  struct ux_region *r = ux_check_region(L, 1);
  check_has_pages(L, r);
  int how = ux_check_word(L, 2, NULL, words);
  luaL_argcheck(L, r->root == r, 1, "a view cannot be changed apart");
  if (ux_region_is_pinned(r) && !(bits[how] & PROT_WRITE))
    return ux_fail(L, EBUSY, "mprotect", NULL); /* it could not be let go */
  int failed = mprotect(r->base, r->length, bits[how]);
  if (failed == 0) r->is_readonly = !(bits[how] & PROT_WRITE);
  return result(L, failed, "mprotect");
}

/***
Tells the system how the memory will be used.
@function Region:advise
@tparam string word `"normal"`, `"random"`, `"sequential"`, `"willneed"`,
`"dontneed"`; where the system knows them `"dontfork"` (children do not get it)
and `"dofork"`, `"wipeonfork"` (children get zeros; private anonymous memory)
and `"keeponfork"`, `"hugepage"`, `"nohugepage"`, `"free"`, `"remove"`,
`"dontdump"` and `"dodump"` (whether it is in a core file), `"cold"`,
`"pageout"`; `"populate_read"` and `"populate_write"` have the pages at once,
and say EFAULT where there are none any more, since the file was cut: who has to
expect that asks so before touching them
@tparam[opt=0] integer offset
@tparam[opt] integer count
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL, ENOMEM, EAGAIN, EFAULT, ENOTSUP
@see madvise(2)
*/
static int l_advise(lua_State *L) {
  static const char *const words[] = {
    "normal",   "random",        "sequential",     "willneed",   "dontneed",
    "dontfork", "dofork",        "hugepage",       "nohugepage", "free",
    "remove",   "populate_read", "populate_write", "wipeonfork", "keeponfork",
    "dontdump", "dodump",        "cold",           "pageout",    NULL};
  static const int advice[] = {
    MADV_NORMAL,        MADV_RANDOM,         MADV_SEQUENTIAL, MADV_WILLNEED,
    MADV_DONTNEED,
#ifdef MADV_REMOVE
    MADV_DONTFORK,      MADV_DOFORK,         MADV_HUGEPAGE,   MADV_NOHUGEPAGE,
    MADV_FREE,          MADV_REMOVE,
#else
    -1,
    -1,
    -1,
    -1,
    -1,
    -1,
#endif
#ifdef MADV_POPULATE_READ
    MADV_POPULATE_READ, MADV_POPULATE_WRITE,
#else
    -1,
    -1,
#endif
#ifdef MADV_WIPEONFORK
    MADV_WIPEONFORK,    MADV_KEEPONFORK,     MADV_DONTDUMP,   MADV_DODUMP,
#else
    -1,
    -1,
    -1,
    -1,
#endif
#ifdef MADV_COLD
    MADV_COLD,          MADV_PAGEOUT,
#else
    -1,
    -1,
#endif
  };
  struct ux_region *r = ux_check_region(L, 1);
  int how = ux_check_word(L, 2, NULL, words);
  struct range p = check_pages(L, r, 3);
  if (advice[how] < 0) return ux_fail(L, ENOTSUP, "madvise", NULL);
  return result(L, madvise(p.start, p.length, advice[how]), "madvise");
}

/***
Keeps the pages in memory.
@function Region:lock
@tparam[opt=0] integer offset
@tparam[opt] integer count
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOMEM, EAGAIN, EPERM (RLIMIT_MEMLOCK)
@see mlock(2)
*/
static int l_lock(lua_State *L) {
  struct range p = check_pages(L, ux_check_region(L, 1), 2);
  return result(L, mlock(p.start, p.length), "mlock");
}

/***
Takes `lock` back.
@function Region:unlock
@tparam[opt=0] integer offset
@tparam[opt] integer count
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOMEM
@see munlock(2)
*/
static int l_unlock(lua_State *L) {
  struct range p = check_pages(L, ux_check_region(L, 1), 2);
  return result(L, munlock(p.start, p.length), "munlock");
}

#ifdef MREMAP_MAYMOVE
static void *remap(const struct ux_region *r, size_t size) {
  return mremap(r->base, r->length, size, MREMAP_MAYMOVE);
}
#else
static void *remap(const struct ux_region *r, size_t size) {
  (void)r, (void)size;
  errno = ENOTSUP;
  return MAP_FAILED;
}
#endif

/* Makes the file longer if it ends before the mapping will; cuts it where the
   mapping will end, if it ends in the mapping: what comes after it is not ours
   to cut. 0 or an errno. */
static int resize_file(lua_State *L, int fd, off_t offset, size_t from,
                       size_t to) {
  off_t end = offset + (off_t)to;
  struct stat st;
  if (to >= from) return ux_space_grow(L, fd, end);
  if (fstat(fd, &st) != 0) return errno;
  if (st.st_size <= end || st.st_size > offset + (off_t)from) return 0;
  return ftruncate(fd, end) == 0 ? 0 : errno;
}

/* A handler that ran meanwhile may have closed it. */
static struct ux_region *check_resizable(lua_State *L, int *err) {
  struct ux_region *r = ux_check_region(L, 1);
  bool can = r->kind == kind && r->root == r && r->detail != FIXED;
  *err = !can ? EINVAL : ux_region_is_pinned(r) ? EBUSY : 0;
  return r;
}

static off_t offset_of(lua_State *L, int index) {
  lua_getiuservalue(L, index, UX_REGION_USER);
  lua_Integer offset = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return (off_t)offset;
}

/* What was cut off before is still in the last page of private memory. */
static void clear_rest(const struct ux_region *old, size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t rest = (page - old->length % page) % page;
  if (old->detail != PRIVATE || old->is_readonly || size <= old->length)
    return;
  memset(old->base + old->length, 0, rest);
}

/* `r` takes over the memory of the old one. 0 or an errno. */
static int move(struct ux_region *old, struct ux_region *r, size_t size) {
  clear_rest(old, size);
  void *base = remap(old, size);
  if (base == MAP_FAILED) return errno;
  old->head.open = false;
  ux_region_set(r, base, size, old->is_readonly);
  r->detail = old->detail;
  return 0;
}

/***
Makes it longer or shorter: gives a new Region with the old contents, zeros
after them, and closes this one, and all views of it. For private anonymous
memory, and for files mapped `resizable`: a file that would end before the
mapping gets longer, one that ends in it is cut where the mapping ends.
@function Region:resize
@tparam integer size in bytes
@treturn[1] Region
@treturn[2] nil
@treturn[2] string message, and the region is as it was
@treturn[2] integer errno: EINVAL (size 0; not a mapping that can), EBUSY (a
lock in it is held), ENOMEM, ENOSPC, EPERM (sealed), EOVERFLOW, ENOTSUP
@see mremap(2)
*/
static int l_resize(lua_State *L) {
  int err;
  struct ux_region *old = check_resizable(L, &err);
  lua_Integer size = luaL_checkinteger(L, 2);
  luaL_argcheck(L, size >= 0, 2, "size must be >= 0");
  if (err == 0 && size == 0) err = EINVAL;
  if (err != 0) return ux_fail(L, err, "mremap", NULL);
  lua_settop(L, 2);
  off_t offset = offset_of(L, 1);
  if (size > INT64_MAX - offset) return ux_fail(L, EOVERFLOW, "mremap", NULL);
  struct ux_region *r = ux_region_new(L, kind, release);
  for (int i = UX_REGION_NAME; i <= UX_REGION_USER; i++) {
    lua_getiuservalue(L, 1, i);
    lua_setiuservalue(L, -2, i);
  }
  int fd = (int)old->detail;
  if (fd >= 0) err = resize_file(L, fd, offset, old->length, (size_t)size);
  if (err != 0) return ux_fail(L, err, "ftruncate", NULL);
  check_resizable(L, &err);
  if (err == 0) err = move(old, r, (size_t)size);
  return err == 0 ? 1 : ux_fail(L, err, "mremap", NULL);
}

static const luaL_Reg region_methods[] = {
  {"sync", l_sync},
  {"protect", l_protect},
  {"advise", l_advise},
  {"lock", l_lock},
  {"unlock", l_unlock},
  {"resize", l_resize},
  {NULL, NULL},
};

static const luaL_Reg functions[] = {
  {"map", l_map},
  {"page_size", l_page_size},
  {NULL, NULL},
};

int ux_open_mmap(lua_State *L) {
  ux_region_open(L);
  luaL_setfuncs(L, region_methods, 0);
  luaL_newlib(L, functions);
  return 1;
}
