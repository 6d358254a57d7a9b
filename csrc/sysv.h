/* What the three kinds of System V objects share: keys, options, the object
   itself, permissions, and errors that say which limit was met. */
#ifndef UX_SYSV_H
#define UX_SYSV_H

#include "base/class.h"
#include "base/options.h"

#include <stdint.h>
#include <sys/ipc.h>

enum ux_sysv_kind { UX_SYSV_MSG, UX_SYSV_SEM, UX_SYSV_SHM };

/* The head of a queue, a set, a segment. */
struct ux_sysv {
  struct ux_object head;
  enum ux_sysv_kind kind;
  int id;
  key_t key; /* IPC_PRIVATE: none, or not known */
  bool is_temporary;
};

/* ---- options ----------------------------------------------------------- */

/* Of every get. The mode is UX_SYSV_NO_MODE when it was not given. */
struct ux_sysv_options {
  bool create, exclusive, temporary;
  mode_t mode;
};

#define UX_SYSV_NO_MODE ((mode_t)-1)

/* Rows for the schema of a struct that begins with a struct ux_sysv_options. */
#define UX_SYSV_OPTION(type, name, opt) \
  { #name, opt, offsetof(struct type, name), 0, 0, NULL }
#define UX_SYSV_OPTIONS \
  UX_SYSV_OPTION(ux_sysv_options, create, UX_OPT_BOOLEAN), \
    UX_SYSV_OPTION(ux_sysv_options, exclusive, UX_OPT_BOOLEAN), \
    UX_SYSV_OPTION(ux_sysv_options, temporary, UX_OPT_BOOLEAN), \
    UX_SYSV_OPTION(ux_sysv_options, mode, UX_OPT_MODE)

/* What a set{} of permissions takes; -1 is not given. */
struct ux_sysv_perm {
  mode_t mode;
  lua_Integer uid, gid;
};

#define UX_SYSV_PERM_DEFAULTS \
  { UX_SYSV_NO_MODE, -1, -1 }
/* Rows for the schema of a struct that begins with a struct ux_sysv_perm. */
#define UX_SYSV_PERM_ID(name) \
  { \
#name, UX_OPT_INTEGER, offsetof(struct ux_sysv_perm, name), 0, \
      UINT32_MAX, NULL \
  }
#define UX_SYSV_PERM_OPTIONS \
  UX_SYSV_OPTION(ux_sysv_perm, mode, UX_OPT_MODE), UX_SYSV_PERM_ID(uid), \
    UX_SYSV_PERM_ID(gid)

/* Changes what was given. */
void ux_sysv_apply_perm(const struct ux_sysv_perm *given,
                        struct ipc_perm *perm);

/* ---- getting ----------------------------------------------------------- */

/* The key at arg; nil or 0 is IPC_PRIVATE, which is to be created: raises if
   the options do not say so. */
key_t ux_sysv_check_key(lua_State *L, int arg,
                        const struct ux_sysv_options *o);

/* Where an id stands in the system's table, for MSG_STAT_ANY and its like,
   which tell about objects that may not be read. They return the id: compare,
   for the table may be larger than usual. */
static inline int ux_sysv_index(int id) {
  return id & 0x7fff;
}

/* The id at arg. */
int ux_sysv_check_id(lua_State *L, int arg);

/* Calls `get` (msgget, … with a key and flags, returning an id or -1 with
   errno) as the options say. *is_new tells whether this call made it. Returns
   the id, or -1 with *err. */
int ux_sysv_get(int (*get)(void *arg, key_t key, int flags), void *arg,
                key_t key, const struct ux_sysv_options *o, bool *is_new,
                int *err);

/* Flags for one that exists: asks for the rights of a mode that was given. */
int ux_sysv_open_flags(const struct ux_sysv_options *o);

/* Opens the object. */
void ux_sysv_set(struct ux_sysv *s, enum ux_sysv_kind kind, int id, key_t key,
                 bool is_temporary);

/* Removes a temporary one, if this process made it; 0 or an errno. */
int ux_sysv_close(struct ux_sysv *s);

/* IPC_RMID; 0 or an errno. */
int ux_sysv_remove(enum ux_sysv_kind kind, int id);

/* ---- telling ----------------------------------------------------------- */

/* nil, "msgget: key 0x1f: No space left on device (…)", errno. */
int ux_sysv_fail_key(lua_State *L, int err, const char *call, key_t key);
int ux_sysv_fail(lua_State *L, int err, const char *call, int id);

/* true, or ux_sysv_fail. */
int ux_sysv_result(lua_State *L, int err, const char *call, int id);

/* Sets fields of the table at the top of the stack. */
void ux_sysv_add_perm(lua_State *L, int id, const struct ipc_perm *perm);
void ux_sysv_add(lua_State *L, const char *name, lua_Integer value);

/* For the describe of the classes: "sysv_msg queue id=3 key=0x00001234". */
void ux_sysv_describe(lua_State *L, const char *name, const struct ux_sysv *s);

#endif
