-- Programs of another user or of lower priority, and those that end with their
-- parent, as other people's suites have them.
local t = require "support"
local signals = require "support.signals"
local nobody = require "support.nobody"
local ipc = require "unixipc"

local process, pipe = ipc.process, ipc.pipe

local WAIT = 20 * t.slow
local IS_ROOT = process.ids().euid == 0

-- As `it`, for what takes root.
local function as_root(name, fn)
  it(name, function()
    if not IS_ROOT then return pending "needs root" end
    fn()
  end)
end

local function output(argv, options)
  local all = {stdout = "pipe"}
  for name, value in pairs(options or {}) do all[name] = value end
  local child <close> = assert(process.spawn(argv, all))
  local out, _, how, code = child:communicate(nil, WAIT)
  assert.same({"exit", 0}, {how, code})
  return out
end

-- What /proc says of a program with these options: its real, effective, saved
-- and file system's ids, and its supplementary groups.
local function rights(options)
  local status = output({"cat", "/proc/self/status"}, options)
  local function field(name)
    local words = status:match(name .. ":[ \t]*([^\n]*)")
    return (words:gsub("%s+", " "):gsub(" $", ""))
  end
  return {field "Uid", field "Gid", field "Groups"}
end

local function four(id) return ("%d %d %d %d"):format(id, id, id, id) end

describe("A program of another user", function()
  as_root("PY:test_subprocess.py:test_user LTP:setreuid02 has no id of ours "
    .. "left", function()
      local mine = rights()
      assert.same({four(65534), mine[2], ""}, rights {user = 65534})
      assert.same({four(1), four(2), ""}, rights {user = 1, group = 2})
      assert.same(mine, rights()) -- we are what we were
    end)

  it("PY:test_subprocess.py:test_user may be our own", function()
    local ids = process.ids()
    local own = rights {user = ids.euid, group = ids.egid}
    assert.same({four(ids.euid), four(ids.egid)}, {own[1], own[2]})
  end)

  as_root("PY:test_subprocess.py:test_group has our user without one",
    function()
      local mine = rights()
      assert.same({mine[1], four(65534), mine[3]}, rights {group = 65534})
    end)

  as_root("PY:test_subprocess.py:test_extra_groups LTP:setgroups02 has the "
    .. "groups it is given, and none of root's", function()
      assert.equal("7 65533", rights({groups = {65533, 7}})[3])
      assert.equal("", rights({groups = {}})[3])
      assert.equal("5", rights({groups = {5}, user = 1})[3])
      -- a parent that has some
      local child <close> = assert(process.spawn({"setpriv", "--groups", "5,6",
        os.getenv "LUA" or "lua5.4", t.names.file [[
          local process = require "unixipc.process"
          local function show(options)
            options.stdout = "pipe"
            local child <close> =
              assert(process.spawn({"grep", "Groups", "/proc/self/status"},
                options))
            io.write((child:communicate(nil)))
          end
          show {}
          show {user = 1}
          show {user = 1, groups = "inherit"}
          show {group = 1}
        ]]}, {stdout = "pipe"}))
      local out = child:communicate(nil, WAIT)
      assert.equal("5 6||5 6|5 6|",
        (out:gsub("Groups:[ \t]*([^\n]-) *\n", "%1|")))
    end)

  as_root("LTP:setuid04 may not do what we may", function()
    local path = t.names.file "secret"
    assert(os.execute("chmod 600 " .. path))
    assert.equal("secret", output {"cat", path})
    local child <close> = assert(process.spawn({"cat", path},
      {user = 65534, group = 65534, stderr = "null"}))
    assert.same({"exit", 1}, {child:wait(WAIT)})
    -- what we open for it, it can read
    assert.equal("secret", output({"cat"}, {user = 65534, stdin = path}))
    -- nor may it run what it could not
    t.refused("EACCES", process.spawn({path}, {user = 65534}))
  end)

  it("LTP:setuid03 LTP:setgroups03 LTP:setreuid03 takes a right to change "
    .. "them", function()
      if not nobody.is_there() then return pending "needs root and setpriv" end
      assert.equal("EPERM setuid: true: Operation not permitted\n"
        .. "EPERM setgid: true: Operation not permitted\n"
        .. "EPERM setgroups: true: Operation not permitted\n"
        .. "EPERM nice: true: Operation not permitted\n"
        .. "exit 0", nobody.run [[
          local function try(options)
            local child, message, number = ipc.process.spawn({"true"}, options)
            if child then return print(child:wait()) end
            print(ipc.errno.name(number), message)
          end
          try {user = 0}
          try {group = 0}
          try {groups = {0}}
          try {nice = -1}
          try {user = 65534, group = 65534}
        ]])
    end)

  it("PY:test_subprocess.py:test_user what is no number of one raises",
    function()
      for _, name in ipairs {"user", "group"} do
        for _, bad in ipairs {-1, 0xFFFFFFFF, 1.5, "nobody", {}} do
          t.raises("option '" .. name .. "'", process.spawn, {"true"},
            {[name] = bad})
        end
      end
      for _, bad in ipairs {-1, {-1}, {0xFFFFFFFF}, {"1"}, {1.5}, {{}}, "all",
        true} do
        t.raises("option 'groups'", process.spawn, {"true"}, {groups = bad})
      end
      for _, bad in ipairs {41, -41, "low", 0.5} do
        t.raises("option 'nice'", process.spawn, {"true"}, {nice = bad})
      end
    end)

  as_root("LTP:setgroups03 too many groups: EINVAL, and nothing is left",
    function()
      local groups = {}
      for i = 1, 65537 do groups[i] = i end
      t.refused("EINVAL", process.spawn({"true"}, {groups = groups}))
    end)
end)

describe("nice", function()
  it("LTP:nice02 LTP:nice03 is added to ours, and ends at 19", function()
    local own = tonumber(output {"nice"})
    assert.equal(math.min(own + 3, 19), tonumber(output({"nice"}, {nice = 3})))
    assert.equal(19, tonumber(output({"nice"}, {nice = 40})))
    assert.equal(own, tonumber(output {"nice"}))
  end)

  as_root("LTP:nice01 may be less for root, also of another user's", function()
    local own = tonumber(output {"nice"})
    local less = math.max(own - 4, -20)
    assert.equal(less, tonumber(output({"nice"}, {nice = -4})))
    assert.equal(less, tonumber(output({"nice"}, {nice = -4, user = 65534})))
  end)
end)

describe("parent_death_signal", function()
  -- A parent that starts a program with a signal and sleeps. Returns it, and a
  -- pipe that is at its end when the program has ended.
  local function start_parent(options)
    local r, w = assert(pipe.open())
    options.stdout = w
    local parent = assert(process.fork(function()
      local child = assert(process.spawn({"sh", "-c",
        "trap 'echo told; exit' HUP; echo ready; "
          .. "while :; do sleep 0.01; done"}, options))
      process.sleep(WAIT)
      child:kill "SIGKILL"
    end))
    w:close()
    assert.equal("ready", r:read("l", WAIT))
    return parent, r
  end

  for how, sig in pairs {SIGKILL = "SIGKILL", SIGTERM = "TERM"} do
    it("LTP:prctl01 GV:prctl.cc:PDeathSig comes when the parent is ended by "
      .. how, function()
        local parent <close>, r = start_parent {parent_death_signal = sig}
        assert(parent:kill(how))
        assert.same({"signal", how}, {parent:wait(WAIT)})
        assert.equal("", r:read("a", WAIT))
        r:close()
      end)
  end

  it("may be one that the program takes", function()
    local parent <close>, r = start_parent {parent_death_signal = "SIGHUP"}
    assert(parent:kill "SIGKILL")
    assert.equal("told\n", r:read("a", WAIT))
    r:close()
  end)

  as_root("comes to a program of another user, too", function()
    local parent <close>, r = start_parent {parent_death_signal = "SIGKILL",
      user = 65534, group = 65534}
    assert(parent:kill "SIGKILL")
    assert.equal("", r:read("a", WAIT))
    r:close()
  end)

  it("does not come while the parent lives", function()
    local child <close> = assert(process.spawn({"cat"},
      {stdin = "pipe", parent_death_signal = "SIGKILL"}))
    signals.await_state(child.pid, "S")
    child.stdin:close()
    assert.same({"exit", 0}, {child:wait(WAIT)})
  end)

  it("LTP:prctl02 that is none: EINVAL, and nothing is left", function()
    t.refused("EINVAL", process.spawn({"true"}, {parent_death_signal = 99}))
    for _, bad in ipairs {-1, "SIGNONE", {}} do
      t.raises("bad argument #2", process.spawn, {"true"},
        {parent_death_signal = bad})
    end
  end)
end)
