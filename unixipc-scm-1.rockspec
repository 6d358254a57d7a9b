rockspec_format = "3.0"
package = "unixipc"
version = "scm-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "Unix inter-process communication for Lua",
  detailed = [[
Pipes, FIFOs, System V and POSIX message queues, semaphores and shared memory,
mapped memory, locks, signals, UNIX sockets and child processes: every Unix way
for processes to talk, with timeouts, Lua's own error conventions and no
dependency but Lua and the C library.]],
  license = "MIT",
}
supported_platforms = {"unix"}
dependencies = {
  "lua >= 5.4, < 5.5",
}
build = {
  type = "make",
  build_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA_INCDIR = "$(LUA_INCDIR)",
  },
  install_variables = {
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
}
