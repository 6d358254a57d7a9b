/* A program with Lua inside where looking up the host "slow" takes for as long
   as the script wants: it runs the script, which has two functions more.

     lookup_host SCRIPT
     await()   returns when "slow" is being looked up
     answer()  lets one who looks it up go on: it is 127.0.0.1

   The modules come from LUA_PATH_5_4 and LUA_CPATH_5_4. */
#include "lib/feature.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int began[2], answers[2];

typedef int lookup_function(const char *, const char *,
                            const struct addrinfo *, struct addrinfo **);

/* In the place of the C library's. */
__attribute__((visibility("default"))) int
getaddrinfo(const char *restrict host, const char *restrict port,
            const struct addrinfo *restrict hints,
            struct addrinfo **restrict found) {
  union {
    void *pointer;
    lookup_function *function;
  } real = {dlsym(RTLD_NEXT, "getaddrinfo")};
  bool is_slow = host != NULL && strcmp(host, "slow") == 0 &&
                 !(hints->ai_flags & AI_NUMERICHOST);
  char byte;
  if (is_slow) {
    if (write(began[1], "x", 1) != 1 || read(answers[0], &byte, 1) != 1)
      return EAI_FAIL;
    host = "127.0.0.1";
  }
  return real.function(host, port, hints, found);
}

static int l_await(lua_State *L) {
  char byte;
  if (read(began[0], &byte, 1) != 1) return luaL_error(L, "nobody asks");
  return 0;
}

static int l_answer(lua_State *L) {
  if (write(answers[1], "x", 1) != 1) return luaL_error(L, "cannot answer");
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 2 || pipe(began) != 0 || pipe(answers) != 0) return 2;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_register(L, "await", l_await);
  lua_register(L, "answer", l_answer);
  if (luaL_dofile(L, argv[1]) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return 1;
  }
  lua_close(L);
  return 0;
}
