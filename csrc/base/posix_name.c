#include "base/posix_name.h"

#include "base/error.h"
#include "base/options.h"
#include "base/process_id.h"
#include "lib/clock.h"

#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

int ux_posix_name_error(const char *name, size_t most) {
  if (name[0] != '/' || name[1] == '\0') return EINVAL;
  if (strcmp(name, "/.") == 0 || strcmp(name, "/..") == 0) return EINVAL;
  if (strchr(name + 1, '/') != NULL) return EACCES;
  return strlen(name + 1) > most ? ENAMETOOLONG : 0;
}

bool ux_posix_name_check(lua_State *L, int arg, char name[UX_POSIX_NAME_SIZE],
                         int *err, size_t most) {
  *err = 0;
  name[0] = '\0';
  if (lua_isnoneornil(L, arg)) return false;
  const char *given = ux_check_cstring(L, arg);
  *err = ux_posix_name_error(given, most);
  snprintf(name, UX_POSIX_NAME_SIZE, "%s", given);
  return true;
}

int ux_posix_name_fail(lua_State *L, int err, const char *call,
                       const char *name) {
  bool is_name = ux_posix_name_error(name, NAME_MAX) != EINVAL;
  if (err != EINVAL || is_name || name[0] == '\0')
    return ux_fail(L, err, call, name[0] != '\0' ? name : NULL);
  const char *words = lua_pushfstring(
    L, "%s: a name is a slash and then other characters", name);
  return ux_fail_words(L, err, call, words);
}

/* The clock tells apart processes that had the same number. */
void ux_posix_name_make(char name[UX_POSIX_NAME_SIZE]) {
  static unsigned count;
  snprintf(name,
           UX_POSIX_NAME_SIZE,
           "/unixipc-%d-%llx-%u",
           (int)ux_process_id(),
           (unsigned long long)ux_clock_now(),
           __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED));
}

/* ---- lists ------------------------------------------------------------- */

struct listing {
  DIR *directory;
  const char *prefix;
};

/* What may raise runs under lua_pcall, so that the directory gets closed. */
static int push_names(lua_State *L) {
  const struct listing *l = lua_touserdata(L, 1);
  size_t skip = strlen(l->prefix);
  const struct dirent *entry;
  lua_Integer count = 0;
  lua_newtable(L);
  while ((entry = readdir(l->directory)) != NULL) {
    if (strncmp(entry->d_name, l->prefix, skip) != 0) continue;
    if (entry->d_name[0] == '.') continue;
    lua_pushfstring(L, "/%s", entry->d_name + skip);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

int ux_posix_name_list(lua_State *L, const char *directory,
                       const char *prefix) {
  lua_pushcfunction(L, push_names);
  struct listing l = {opendir(directory), prefix};
  if (l.directory == NULL) {
    int err = errno;
    lua_pop(L, 1);
    return err;
  }
  lua_pushlightuserdata(L, &l);
  int status = lua_pcall(L, 1, 1, 0);
  closedir(l.directory);
  if (status != LUA_OK) lua_error(L);
  return 0;
}
