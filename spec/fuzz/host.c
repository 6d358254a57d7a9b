/* Runs a fuzz target, spec/fuzz/<stem>_fuzz.lua, under libFuzzer: Lua in a
   program whose library tells which of its branches were taken. See make fuzz.

   From the environment: FUZZ_TARGET, the script; FUZZ_CORPUS, a directory that
   its seeds are written into.

   The script gets `limited(bytes, fn, ...)`, which is pcall, but that Lua may
   not allocate more bytes meanwhile than that; it returns `seeds`, a list of
   strings, and `run`, which gets the bytes. Whatever that raises is a finding,
   as a crash is. */
#include "lib/feature.h"

#include "base/modules.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int luaopen_unixipc_core(lua_State *L);

/* ---- memory that is counted -------------------------------------------- */

static struct { size_t bytes, most; /* most: 0 is no limit */ } memory;

static void *allocate(void *arg, void *block, size_t old, size_t size) {
  (void)arg;
  if (block == NULL) old = 0;
  memory.bytes += size - old;
  if (memory.most > 0 && size > old && memory.bytes > memory.most) {
    fprintf(stderr, "more memory than allowed: %zu bytes at once\n", size);
    abort();
  }
  if (size == 0) {
    free(block);
    return NULL;
  }
  return realloc(block, size);
}

static int l_limited(lua_State *L) {
  size_t limit = (size_t)luaL_checkinteger(L, 1);
  lua_gc(L, LUA_GCCOLLECT);
  memory.most = memory.bytes + limit;
  int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  memory.most = 0;
  lua_pushboolean(L, status == LUA_OK);
  lua_replace(L, 1);
  return lua_gettop(L);
}

/* ---- the script --------------------------------------------------------- */

static lua_State *L;

static int explain(lua_State *L1) {
  luaL_traceback(L1, L1, luaL_tolstring(L1, 1, NULL), 1);
  return 1;
}

/* The function with its arguments is on top of the stack. */
static void call(int arguments, int results) {
  int handler = lua_gettop(L) - arguments;
  lua_pushcfunction(L, explain);
  lua_insert(L, handler);
  if (lua_pcall(L, arguments, results, handler) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  lua_remove(L, handler);
}

static const char *variable(const char *name) {
  const char *value = getenv(name);
  if (value != NULL) return value;
  fprintf(stderr, "%s is not set\n", name);
  exit(2);
}

/* Leaves what the script returns. */
static void load(const char *path) {
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_unixipc_core);
  lua_setfield(L, -2, "unixipc.core");
  lua_pop(L, 1);
  if (luaL_loadfile(L, path) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    exit(2);
  }
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_limited);
  lua_setfield(L, -2, "limited");
  call(1, 1);
}

static void write_seed(const char *directory, int number) {
  char path[4096];
  size_t length;
  const char *bytes = lua_tolstring(L, -1, &length);
  snprintf(path, sizeof path, "%s/seed-%d", directory, number);
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(bytes, 1, length, file) != length) {
    perror(path);
    exit(2);
  }
  fclose(file);
}

static void write_seeds(const char *directory) {
  lua_getfield(L, -1, "seeds");
  for (int i = 1; lua_geti(L, -1, i) == LUA_TSTRING; i++) {
    write_seed(directory, i);
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  L = lua_newstate(allocate, NULL);
  if (L == NULL) exit(2);
  load(variable("FUZZ_TARGET"));
  write_seeds(variable("FUZZ_CORPUS"));
  lua_getfield(L, -1, "run");
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_pushlstring(L, (const char *)data, size);
  call(1, 0);
  return 0;
}
