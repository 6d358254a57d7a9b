/***
System V shared memory: segments that the kernel keeps until they are removed,
attached as a `Region`.

    local ipc = require "unixipc"
    local key = assert(ipc.sysv.ftok("/tmp", "m"))
    local segment = assert(ipc.sysv_shm.get(key, 4096, {create = true}))
    local region <close> = assert(segment:attach())
    region:write(0, "for all to read")
    segment:remove() -- it goes when the last process has detached it
@module unixipc.sysv_shm
*/
#include "base/error.h"
#include "base/modules.h"
#include "region.h"
#include "sysv.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdint.h>
#include <sys/shm.h>
#include <unistd.h>

struct segment {
  struct ux_sysv sysv;
};

static const struct ux_class segment_class;

static struct segment *check_segment(lua_State *L) {
  return ux_check_open(L, 1, &segment_class);
}

/* ---- get --------------------------------------------------------------- */

enum huge { HUGE_NO, HUGE_DEFAULT, HUGE_2M, HUGE_1G };

struct get_options {
  struct ux_sysv_options sysv;
  bool noreserve;
  int huge;
};

static const char *const huge_words[] = {"no", "default", "2M", "1G", NULL};

static const struct ux_option get_schema[] = {
  UX_SYSV_OPTIONS,
  {"huge", UX_OPT_WORD, offsetof(struct get_options, huge), 0, 0, huge_words},
  {"noreserve",
   UX_OPT_BOOLEAN,
   offsetof(struct get_options, noreserve),
   0,
   0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

#ifdef SHM_HUGETLB
#define HUGE_SHIFT 26
static const int huge_flags[] = {
  0,
  SHM_HUGETLB,
  SHM_HUGETLB | 21 << HUGE_SHIFT,
  SHM_HUGETLB | 30 << HUGE_SHIFT,
};
#else
static const int huge_flags[] = {0, 0, 0, 0};
#endif
#ifndef SHM_NORESERVE
#define SHM_NORESERVE 0
#endif

struct getting {
  size_t size;
  int flags; /* of a new one */
};

static int get(void *arg, key_t key, int flags) {
  const struct getting *g = arg;
  return shmget(key, g->size, flags & IPC_CREAT ? flags | g->flags : flags);
}

/***
Opens a segment by its key, or makes one, all zeros.

Options: `create`: make it if it is not there; `exclusive` with `create`: it
must not be there; `mode` of a new one, `"0600"` by default, and if given
for one that exists: the rights to be asked for; `temporary`: closing it
removes it, if this call made it; `huge`: of huge pages, `"default"`, `"2M"` or
`"1G"`, where the system has them; `noreserve`: no swap space is set aside.
@function get
@tparam integer|nil key nil makes one that only its id leads to
@tparam[opt] integer size bytes; may be left out for one that exists, which has
to have as many at least
@tparam[opt] table options
@treturn[1] Segment
@treturn[1] boolean whether this call made it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ENOENT, EEXIST (with `exclusive`), EINVAL (the
segment is smaller, or a new one would have no bytes or too many), EACCES,
ENOSPC (the limit of segments or of memory), ENOMEM, EPERM (`huge`)
@see shmget(2)
*/
static int l_get(lua_State *L) {
  struct get_options o = {{.mode = UX_SYSV_NO_MODE}, false, HUGE_NO};
  int err;
  bool is_new;
  lua_Integer size = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, size >= 0, 2, "size must not be negative");
  ux_check_options(L, 3, get_schema, &o);
  key_t key = ux_sysv_check_key(L, 1, &o.sysv);
  struct getting g = {(size_t)size,
                      huge_flags[o.huge] | (o.noreserve ? SHM_NORESERVE : 0)};
  struct segment *s = ux_new(L, &segment_class);
  int id = ux_sysv_get(get, &g, key, &o.sysv, &is_new, &err);
  if (id < 0) return ux_sysv_fail_key(L, err, "shmget", key);
  ux_sysv_set(&s->sysv, UX_SYSV_SHM, id, key, o.sysv.temporary && is_new);
  lua_pushboolean(L, is_new);
  return 2;
}

/* For what only its owner may do, and that is also who must not read it. */
static int stat_any(int id, struct shmid_ds *ds) {
  int err = shmctl(id, IPC_STAT, ds) == 0 ? 0 : errno;
#ifdef SHM_STAT_ANY
  if (err == EACCES && shmctl(ux_sysv_index(id), SHM_STAT_ANY, ds) == id)
    err = 0;
#endif
  return err;
}

/***
Opens a segment by its id.
@function from_id
@tparam integer id
@treturn[1] Segment
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EINVAL (no such segment)
@see shmctl(2)
*/
static int l_from_id(lua_State *L) {
  struct shmid_ds ds;
  int id = ux_sysv_check_id(L, 1);
  struct segment *s = ux_new(L, &segment_class);
  int err = stat_any(id, &ds);
  if (err != 0 && err != EACCES) return ux_sysv_fail(L, err, "shmctl", id);
  key_t key = IPC_PRIVATE;
#ifdef __linux__
  if (err == 0) key = ds.shm_perm.__key;
#endif
  ux_sysv_set(&s->sysv, UX_SYSV_SHM, id, key, false);
  return 1;
}

/* ---- attach ------------------------------------------------------------ */

struct attach_options {
  bool readonly;
  lua_Integer address;
  int replace; /* stack index; 0: not given */
};

static const struct ux_option attach_schema[] = {
  {"readonly",
   UX_OPT_BOOLEAN,
   offsetof(struct attach_options, readonly),
   0,
   0,
   NULL},
  {"address",
   UX_OPT_INTEGER,
   offsetof(struct attach_options, address),
   LUA_MININTEGER,
   LUA_MAXINTEGER,
   NULL},
  {"replace",
   UX_OPT_VALUE,
   offsetof(struct attach_options, replace),
   0,
   0,
   NULL},
  {NULL, 0, 0, 0, 0, NULL},
};

static int detach(struct ux_region *r) {
  return shmdt(r->base) == 0 ? 0 : errno;
}

static size_t whole_pages(size_t length) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (length + page - 1) / page * page;
}

#ifdef SHM_REMAP

/* Only memory that was attached by us, and all of it: nothing else can be
   lost. */
static int check_replaced(lua_State *L, int index, int id,
                          struct ux_region **replaced) {
  struct ux_region *r = ux_test(L, index, &ux_region_class);
  bool is_attached = r != NULL && ux_region_is_open(r) && r->release == detach;
  struct shmid_ds ds;
  if (!is_attached)
    return luaL_argerror(L, 2, "option 'replace': attached region expected");
  if (ux_region_is_pinned(r)) return EBUSY;
  if (shmctl(id, IPC_STAT, &ds) != 0) return errno;
  if (whole_pages(r->length) != whole_pages(ds.shm_segsz))
    luaL_argerror(L, 2, "option 'replace': its size differs");
  *replaced = r;
  return 0;
}

#define REMAP_FLAG SHM_REMAP

#else

static int check_replaced(lua_State *L, int index, int id,
                          struct ux_region **replaced) {
  (void)index, (void)id, (void)replaced;
  return luaL_argerror(L, 2, "option 'replace': not on this system");
}

#define REMAP_FLAG 0

#endif

/* Its name, for tostring: "id=3". */
static void set_name(lua_State *L, int id) {
  lua_pushfstring(L, "id=%d", id);
  lua_setiuservalue(L, -2, UX_REGION_NAME);
}

/* Attaches it, in the place of another if there is one, and then asks for its
   size: what is attached cannot go and come again with another one. No Lua in
   between. 0 or an errno. */
static int attach(struct ux_region *r, int id, void *where, int flags,
                  struct ux_region *replaced) {
  struct shmid_ds ds;
  if (replaced != NULL) {
    where = replaced->base;
    flags |= REMAP_FLAG;
  }
  void *base = shmat(id, where, flags);
  if (base == (void *)-1) return errno;
  if (replaced != NULL) replaced->head.open = false;
  int err = shmctl(id, IPC_STAT, &ds) == 0 ? 0 : errno;
  if (err == 0)
    ux_region_set(r, base, ds.shm_segsz, (flags & SHM_RDONLY) != 0);
  else
    shmdt(base);
  return err;
}

/***
Maps the segment into this process.

Options: `readonly`; `address`: where, an integer; the system chooses, if it is
left out; `replace`: put it in the place of this region, which is closed by
that: one that was attached, and is of the same size.
@function Segment:attach
@tparam[opt] table options
@treturn[1] Region of the segment's size; closing it detaches it
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL (no such segment, or no room at the
address), EIDRM, ENOMEM, EBUSY (a lock is held in the region to replace)
@see shmat(2)
*/
static int l_attach(lua_State *L) {
  const struct segment *s = check_segment(L);
  struct attach_options o = {.readonly = false};
  struct ux_region *replaced = NULL;
  int id = s->sysv.id, err = 0;
  ux_check_options(L, 2, attach_schema, &o);
  struct ux_region *r = ux_region_new(L, "sysv_shm", detach);
  set_name(L, id);
  void *where = (void *)(intptr_t)o.address;
  int flags = o.readonly ? SHM_RDONLY : 0;
  if (o.replace != 0) err = check_replaced(L, o.replace, id, &replaced);
  if (err == 0) err = attach(r, id, where, flags, replaced);
  return err == 0 ? 1 : ux_sysv_fail(L, err, "shmat", id);
}

/* ---- control ----------------------------------------------------------- */

/***
What is known about it: `id`, `key`, `mode` (nine letters, as `ls` has), `uid`,
`gid`, `creator_uid`, `creator_gid`; `size`; `attached`, how often it is;
`creator` and `last_user`, pids; `attached_at`, `detached_at`, `changed_at`, as
`os.time` gives, 0 for never; `is_removed` and `is_locked`.
@function Segment:stat
@treturn[1] table
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EACCES, EINVAL or EIDRM (no such segment)
@see shmctl(2)
*/
static int l_stat(lua_State *L) {
  const struct segment *s = check_segment(L);
  struct shmid_ds ds;
  if (shmctl(s->sysv.id, IPC_STAT, &ds) != 0)
    return ux_sysv_fail(L, errno, "shmctl", s->sysv.id);
  lua_createtable(L, 0, 16);
  ux_sysv_add_perm(L, s->sysv.id, &ds.shm_perm);
  ux_sysv_add(L, "size", (lua_Integer)ds.shm_segsz);
  ux_sysv_add(L, "attached", (lua_Integer)ds.shm_nattch);
  ux_sysv_add(L, "creator", ds.shm_cpid);
  ux_sysv_add(L, "last_user", ds.shm_lpid);
  ux_sysv_add(L, "attached_at", ds.shm_atime);
  ux_sysv_add(L, "detached_at", ds.shm_dtime);
  ux_sysv_add(L, "changed_at", ds.shm_ctime);
#ifdef SHM_DEST
  lua_pushboolean(L, (ds.shm_perm.mode & SHM_DEST) != 0);
  lua_setfield(L, -2, "is_removed");
  lua_pushboolean(L, (ds.shm_perm.mode & SHM_LOCKED) != 0);
  lua_setfield(L, -2, "is_locked");
#endif
  return 1;
}

static const struct ux_option set_schema[] = {
  UX_SYSV_PERM_OPTIONS,
  {NULL, 0, 0, 0, 0, NULL},
};

/***
Changes `mode`, `uid` or `gid`.
@function Segment:set
@tparam table options what is left out stays as it is
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (not the owner), EACCES, EINVAL or EIDRM (no
such segment)
@see shmctl(2)
*/
static int l_set(lua_State *L) {
  const struct segment *s = check_segment(L);
  struct ux_sysv_perm perm = UX_SYSV_PERM_DEFAULTS;
  struct shmid_ds ds;
  luaL_checktype(L, 2, LUA_TTABLE);
  ux_check_options(L, 2, set_schema, &perm);
  int err = stat_any(s->sysv.id, &ds);
  ux_sysv_apply_perm(&perm, &ds.shm_perm);
  if (err == 0 && shmctl(s->sysv.id, IPC_SET, &ds) != 0) err = errno;
  return ux_sysv_result(L, err, "shmctl", s->sysv.id);
}

#ifdef SHM_LOCK

static int control(lua_State *L, int command) {
  const struct segment *s = check_segment(L);
  int err = shmctl(s->sysv.id, command, NULL) == 0 ? 0 : errno;
  return ux_sysv_result(L, err, "shmctl", s->sysv.id);
}

#else

#define SHM_LOCK 0
#define SHM_UNLOCK 0

static int control(lua_State *L, int command) {
  (void)command;
  return ux_sysv_fail(L, ENOTSUP, "shmctl", check_segment(L)->sysv.id);
}

#endif

/***
Keeps the pages that are used in memory: they are not swapped out.
@function Segment:lock
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM, ENOMEM (the limit of locked memory), EINVAL or
EIDRM (no such segment), ENOTSUP (not on this system)
@see shmctl(2)
*/
static int l_lock(lua_State *L) {
  return control(L, SHM_LOCK);
}

/***
Takes back `lock`.
@function Segment:unlock
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM, EINVAL or EIDRM (no such segment), ENOTSUP
@see shmctl(2)
*/
static int l_unlock(lua_State *L) {
  return control(L, SHM_UNLOCK);
}

/***
Marks it to be removed when the last process has detached it. Its key is free
at once; memory that is attached lives on.
@function Segment:remove
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM, EINVAL or EIDRM (no such segment)
@see shmctl(2)
*/
static int l_remove(lua_State *L) {
  const struct segment *s = check_segment(L);
  int err = ux_sysv_remove(UX_SYSV_SHM, s->sysv.id);
  return ux_sysv_result(L, err, "shmctl", s->sysv.id);
}

/***
The id, which leads to it in every process: `sysv_shm.from_id(id)`.
@function Segment:id
@treturn integer 0 is an id
*/
static int l_id(lua_State *L) {
  lua_pushinteger(L, check_segment(L)->sysv.id);
  return 1;
}

/***
The key.
@function Segment:key
@treturn integer 0 when it has none
*/
static int l_key(lua_State *L) {
  lua_pushinteger(L, check_segment(L)->sysv.key);
  return 1;
}

/***
Lets go of the segment, not of what is attached; a temporary one is removed, by
the process that made it. Also what `<close>` and the collector do.
@function Segment:close
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: EPERM (a temporary one that changed its owner)
*/
static int l_close(lua_State *L) {
  struct segment *s = ux_check(L, 1, &segment_class);
  int err = ux_sysv_close(&s->sysv);
  return ux_sysv_result(L, err, "shmctl", s->sysv.id);
}

static void describe(lua_State *L, const void *self) {
  ux_sysv_describe(L, "sysv_shm segment", self);
}

static const luaL_Reg methods[] = {
  {"attach", l_attach},
  {"stat", l_stat},
  {"set", l_set},
  {"lock", l_lock},
  {"unlock", l_unlock},
  {"remove", l_remove},
  {"id", l_id},
  {"key", l_key},
  {NULL, NULL},
};

static const struct ux_class segment_class = {
  .name = "sysv_shm segment",
  .size = sizeof(struct segment),
  .methods = methods,
  .close = l_close,
  .describe = describe,
};

static const luaL_Reg functions[] = {
  {"get", l_get},
  {"from_id", l_from_id},
  {NULL, NULL},
};

int ux_open_sysv_shm(lua_State *L) {
  ux_region_open(L);
  lua_pop(L, 1);
  ux_class_open(L, &segment_class);
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "Segment");
  return 1;
}
