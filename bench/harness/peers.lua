--- The kinds of competitors: how a program of each is started, and how to
-- tell whether the machine has it. One line for each.
local peers = {}

-- The names with a version keep each Lua from reading the other's paths.
local LUA54 = "LUA_PATH_5_4='lua/?.lua;lua/?/init.lua;bench/lib/?.lua;;' "
  .. "LUA_CPATH_5_4='build/release/?.so;build/bench/?.so;;' "
local LUA53 = "LUA_PATH_5_3='bench/lib/?.lua;;' "

-- start: %s is the stem. probe: succeeds where the peer is installed.
local kinds = {
  c = { start = "build/bench/%s" },
  unixipc = {
    env = LUA54,
    start = "lua5.4 bench/unixipc/%s.lua",
    probe = "lua5.4 -e 'require \"unixipc\"'",
  },
  stock = { env = LUA54, start = "lua5.4 bench/stock/%s.lua" },
  luaposix = {
    env = LUA53,
    start = "lua5.3 bench/luaposix/%s.lua",
    probe = "lua5.3 -e 'require \"posix\"'",
  },
  luasocket = {
    env = LUA54,
    start = "lua5.4 bench/luasocket/%s.lua",
    probe = "lua5.4 -e 'require \"socket.unix\"'",
  },
  cqueues = {
    env = LUA54,
    start = "lua5.4 bench/cqueues/%s.lua",
    probe = "lua5.4 -e 'require \"cqueues.socket\"'",
  },
  luv = {
    env = LUA54,
    start = "lua5.4 bench/luv/%s.lua",
    probe = "lua5.4 -e 'require \"luv\"'",
  },
  cjson = {
    env = LUA54,
    start = "lua5.4 bench/cjson/%s.lua",
    probe = "lua5.4 -e 'require \"cjson\"'",
  },
  messagepack = {
    env = LUA53,
    start = "lua5.3 bench/messagepack/%s.lua",
    probe = "lua5.3 -e 'require \"posix\" require \"MessagePack\"'",
  },
  boost = {
    start = "build/bench/boost-%s",
    probe = "test -x build/bench/boost-channel",
  },
  msgpack = {
    start = "/usr/bin/python3 bench/python/%s.py",
    probe = "/usr/bin/python3 -c 'import msgpack'",
  },
  python = {
    start = "/usr/bin/python3 bench/python/%s.py",
    probe = "/usr/bin/python3 -c 'import sysv_ipc'",
  },
}

local found = {}

local function kind_of(name)
  return kinds[name] or error("no such peer: " .. tostring(name), 0)
end

--- Whether programs of this kind can run here; looked up once.
function peers.is_there(name)
  local kind = kind_of(name)
  if found[name] == nil then
    found[name] = not kind.probe or os.execute(
      (kind.env or "") .. kind.probe .. " >/dev/null 2>&1") == true
  end
  return found[name]
end

--- The shell command of "stem words", held on a core if one is given.
function peers.command(name, run, cpu)
  local kind = kind_of(name)
  local stem, words = run:match("^(%S+)%s*(.*)$")
  local pin = cpu and ("taskset -c %d "):format(cpu) or ""
  return (kind.env or "") .. pin .. kind.start:format(stem) .. " " .. words
end

return peers
