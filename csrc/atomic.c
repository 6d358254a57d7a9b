/***
Integers in shared memory that several processes change at once, by C11's
operations, all of them sequentially consistent; and sleeping until one of them
changes.

Sums and differences wrap around. Values that do not fit the cell raise.
@module unixipc.atomic
*/
#include "base/class.h"
#include "base/error.h"
#include "base/modules.h"
#include "base/wait.h"
#include "lib/futex.h"
#include "region.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum kind { INT32, UINT32, INT64 };

static const char *const kinds[] = {"int32", "uint32", "int64"};

struct cell {
  struct ux_object head;
  enum kind kind;
  const struct ux_region *region; /* the user value */
  union {
    _Atomic uint32_t *word; /* not of an int64 */
    _Atomic uint64_t *wide;
  } at;
};

static const struct ux_class cell_class;

/* ---- values ------------------------------------------------------------ */

static uint64_t check_value(lua_State *L, int arg, const struct cell *c) {
  lua_Integer n = luaL_checkinteger(L, arg);
  bool fits =
    c->kind == INT64 || (c->kind == INT32 ? n >= INT32_MIN && n <= INT32_MAX
                                          : n >= 0 && n <= UINT32_MAX);
  luaL_argcheck(L, fits, arg, "value does not fit the cell");
  return (uint64_t)n;
}

/* An operand of a sum wraps like the sum. */
static uint64_t check_operand(lua_State *L, int arg) {
  return (uint64_t)luaL_checkinteger(L, arg);
}

static void push_value(lua_State *L, const struct cell *c, uint64_t v) {
  if (c->kind == INT32)
    lua_pushinteger(L, (int32_t)(uint32_t)v);
  else
    lua_pushinteger(L, (lua_Integer)v);
}

/* ---- making ------------------------------------------------------------ */

static int release_memory(struct ux_region *r) {
  return munmap(r->base, r->length) == 0 ? 0 : errno;
}

/* Without a region: memory of its own, in place of arg 1. */
static int make_region(lua_State *L) {
  size_t size = sizeof(uint64_t);
  ux_region_open(L);
  struct ux_region *r = ux_region_new(L, "atomic", release_memory);
  void *base = mmap(
    NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return errno;
  ux_region_set(r, base, size, false);
  lua_replace(L, 1);
  lua_pop(L, 1);
  return 0;
}

static int new_cell(lua_State *L, enum kind kind) {
  size_t size = kind == INT64 ? sizeof(uint64_t) : sizeof(uint32_t);
  lua_settop(L, 2);
  int err = lua_isnil(L, 1) ? make_region(L) : 0;
  if (err != 0) return ux_fail(L, err, "mmap", NULL);
  const struct ux_region *r = ux_check_region(L, 1);
  ux_region_check_writable(L, r);
  size_t offset = ux_check_region_offset(L, 2, r);
  luaL_argcheck(L, r->length - offset >= size, 2, "out of bounds");
  char *place = r->base + offset;
  luaL_argcheck(L, (uintptr_t)place % size == 0, 2, "offset is not aligned");
  struct cell *c = ux_new(L, &cell_class);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  c->region = r;
  c->kind = kind;
  if (kind == INT64)
    c->at.wide = (_Atomic uint64_t *)(void *)place;
  else
    c->at.word = (_Atomic uint32_t *)(void *)place;
  c->head.open = true;
  return 1;
}

/***
A cell of 32 bits with a sign. Without a region it stands in memory of its own,
shared with the children of this process. What is there stays as it is.
@function int32
@tparam[opt] Region region
@tparam[opt=0] integer offset aligned to 4
@treturn Cell
*/
static int l_int32(lua_State *L) {
  return new_cell(L, INT32);
}

/***
A cell of 32 bits without a sign.
@function uint32
@tparam[opt] Region region
@tparam[opt=0] integer offset aligned to 4
@treturn Cell
*/
static int l_uint32(lua_State *L) {
  return new_cell(L, UINT32);
}

/***
A cell of 64 bits, as Lua's integers are. It knows neither `wait` nor `wake`.
@function int64
@tparam[opt] Region region
@tparam[opt=0] integer offset aligned to 8
@treturn Cell
*/
static int l_int64(lua_State *L) {
  return new_cell(L, INT64);
}

/* ---- Cell -------------------------------------------------------------- */

static void check_usable(lua_State *L, const struct cell *c) {
  if (!c->head.open) ux_closed_error(L, &cell_class);
  if (!ux_region_is_open(c->region) || ux_region_is_readonly(c->region))
    ux_region_check_writable(L, c->region);
}

static struct cell *check_cell(lua_State *L) {
  struct cell *c = ux_check(L, 1, &cell_class);
  check_usable(L, c);
  return c;
}

/***
Lets go of the memory. Also what `<close>` and the collector do.
@function Cell:close
@treturn boolean true
*/
static int l_close(lua_State *L) {
  struct cell *c = ux_check(L, 1, &cell_class);
  c->head.open = false;
  lua_pushboolean(L, 1);
  return 1;
}

static void describe(lua_State *L, const void *self) {
  const struct cell *c = self;
  lua_pushfstring(L, "atomic %s cell", kinds[c->kind]);
}

/* Each operation is a method, and a bound function with the cell as its
   upvalue: the same, with the arguments one further to the left. */
#define BOTH(name) \
  static int l_##name(lua_State *L) { \
    return do_##name(L, check_cell(L), 2); \
  } \
  static int l_bound_##name(lua_State *L) { \
    const struct cell *c = lua_touserdata(L, lua_upvalueindex(1)); \
    check_usable(L, c); \
    return do_##name(L, c, 1); \
  }

static int do_load(lua_State *L, const struct cell *c, int arg) {
  (void)arg;
  push_value(L,
             c,
             c->kind == INT64 ? atomic_load(c->at.wide)
                              : atomic_load(c->at.word));
  return 1;
}

/***
Its value.
@function Cell:load
@treturn integer
*/
BOTH(load)

static int do_store(lua_State *L, const struct cell *c, int arg) {
  uint64_t v = check_value(L, arg, c);
  if (c->kind == INT64)
    atomic_store(c->at.wide, v);
  else
    atomic_store(c->at.word, (uint32_t)v);
  lua_settop(L, 1);
  return arg - 1; /* the method gives the cell */
}

/***
Sets it.
@function Cell:store
@tparam integer value
@treturn Cell itself; nothing, if bound
*/
BOTH(store)

static int do_compare_exchange(lua_State *L, const struct cell *c, int arg) {
  uint64_t expected = check_value(L, arg, c);
  uint64_t desired = check_value(L, arg + 1, c);
  uint32_t narrow = (uint32_t)expected;
  bool done =
    c->kind == INT64
      ? atomic_compare_exchange_strong(c->at.wide, &expected, desired)
      : atomic_compare_exchange_strong(c->at.word, &narrow, (uint32_t)desired);
  lua_pushboolean(L, done);
  push_value(L, c, c->kind == INT64 ? expected : narrow);
  return 2;
}

/***
Sets it if it is what is expected.
@function Cell:compare_exchange
@tparam integer expected
@tparam integer desired
@treturn boolean was it?
@treturn integer what it was
*/
BOTH(compare_exchange)

/* The operations that change it and tell what it was. */
#define OPERATION(name, op) \
  static int do_##name(lua_State *L, const struct cell *c, int arg) { \
    uint64_t v = check_operand(L, arg); \
    push_value(L, \
               c, \
               c->kind == INT64 ? op(c->at.wide, v) \
                                : op(c->at.word, (uint32_t)v)); \
    return 1; \
  } \
  BOTH(name)

/***
Sets it.
@function Cell:exchange
@tparam integer value wraps around
@treturn integer what it was
*/
OPERATION(exchange, atomic_exchange)

/***
Adds.
@function Cell:fetch_add
@tparam integer n
@treturn integer what it was
*/
OPERATION(fetch_add, atomic_fetch_add)

/***
Subtracts.
@function Cell:fetch_sub
@tparam integer n
@treturn integer what it was
*/
OPERATION(fetch_sub, atomic_fetch_sub)

/***
Keeps the bits that are set in both.
@function Cell:fetch_and
@tparam integer bits
@treturn integer what it was
*/
OPERATION(fetch_and, atomic_fetch_and)

/***
Sets bits.
@function Cell:fetch_or
@tparam integer bits
@treturn integer what it was
*/
OPERATION(fetch_or, atomic_fetch_or)

/***
Turns bits over.
@function Cell:fetch_xor
@tparam integer bits
@treturn integer what it was
*/
OPERATION(fetch_xor, atomic_fetch_xor)

#define BOUND(name) \
  { #name, l_bound_##name }

static const luaL_Reg bound_functions[] = {
  BOUND(load),
  BOUND(store),
  BOUND(exchange),
  BOUND(compare_exchange),
  BOUND(fetch_add),
  BOUND(fetch_sub),
  BOUND(fetch_and),
  BOUND(fetch_or),
  BOUND(fetch_xor),
};

/***
A function that does one operation on this cell, faster than the method:
`local add = cell:bind "fetch_add"`, then `add(1)`.
@function Cell:bind
@tparam string operation the name of a method: `"load"`, `"store"`,
`"exchange"`, `"compare_exchange"`, `"fetch_add"`, `"fetch_sub"`,
`"fetch_and"`, `"fetch_or"`, `"fetch_xor"`
@treturn function
*/
static int l_bind(lua_State *L) {
  const size_t count = sizeof bound_functions / sizeof bound_functions[0];
  check_cell(L);
  const char *word = luaL_checkstring(L, 2);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(word, bound_functions[i].name) != 0) continue;
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, bound_functions[i].func, 1);
    return 1;
  }
  return luaL_argerror(L, 2, lua_pushfstring(L, "invalid option '%s'", word));
}

/* ---- futex ------------------------------------------------------------- */

static void check_narrow(lua_State *L, const struct cell *c) {
  luaL_argcheck(L, c->kind != INT64, 1, "a cell of 32 bits expected");
}

struct sleep {
  const struct cell *cell;
  uint32_t expected;
};

static int sleep_once(void *arg) {
  const struct sleep *s = arg;
  return ux_futex_wait(s->cell->at.word, s->expected, 0);
}

/***
Sleeps while the value is what is expected, until `wake`. Returns at once if it
is something else. May return for no reason: look at the value again.
@function Cell:wait
@tparam integer expected
@tparam[opt] number timeout seconds
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] integer errno: ETIMEDOUT, ENOTSUP (not on this system)
@see futex(2)
*/
static int l_wait(lua_State *L) {
  const struct cell *c = check_cell(L);
  check_narrow(L, c);
  struct sleep s = {c, (uint32_t)check_value(L, 2, c)};
  struct ux_deadline deadline = ux_check_deadline(L, 3);
  int err = EINTR;
  while (err == EINTR) {
    if (atomic_load(c->at.word) != s.expected)
      err = 0;
    else if (deadline.left == 0)
      err = ETIMEDOUT;
    else
      err = ux_wait_call(L, sleep_once, &s, &deadline);
    check_usable(L, c);
  }
  return ux_result(L, err == EAGAIN ? 0 : err, "futex", NULL);
}

/***
Wakes those that wait.
@function Cell:wake
@tparam[opt=1] integer n how many at most
@treturn integer how many there were
@see futex(2)
*/
static int l_wake(lua_State *L) {
  const struct cell *c = check_cell(L);
  check_narrow(L, c);
  lua_Integer n = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, n >= 0, 2, "a count >= 0 expected");
  int most = n > INT_MAX ? INT_MAX : (int)n;
  lua_pushinteger(L, most > 0 ? ux_futex_wake(c->at.word, most) : 0);
  return 1;
}

static const luaL_Reg cell_methods[] = {
  {"load", l_load},
  {"store", l_store},
  {"exchange", l_exchange},
  {"compare_exchange", l_compare_exchange},
  {"fetch_add", l_fetch_add},
  {"fetch_sub", l_fetch_sub},
  {"fetch_and", l_fetch_and},
  {"fetch_or", l_fetch_or},
  {"fetch_xor", l_fetch_xor},
  {"bind", l_bind},
  {"wait", l_wait},
  {"wake", l_wake},
  {NULL, NULL},
};

static const struct ux_class cell_class = {
  .name = "atomic cell",
  .size = sizeof(struct cell),
  .uservalues = 1,
  .methods = cell_methods,
  .close = l_close,
  .describe = describe,
};

static const luaL_Reg functions[] = {
  {"int32", l_int32},
  {"uint32", l_uint32},
  {"int64", l_int64},
  {NULL, NULL},
};

int ux_open_atomic(lua_State *L) {
  luaL_newlib(L, functions);
  ux_class_open(L, &cell_class);
  lua_setfield(L, -2, "Cell");
  return 1;
}
