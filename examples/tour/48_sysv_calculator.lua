local QUESTIONS = "6 * 7\n-7 / 2\n1 / 0\n"
local ANSWERS = "6 * 7 = 42\n-7 / 2 = -3\n1 / 0 = division by zero\n"

-- The other servers are asked the same, and ended.
local function ask(scene, server, path)
  scene.tell("the server says: %s", assert(server.stdout:read("l", 5)))
  local clients = {}
  for i = 1, 3 do
    clients[i] = scene.start("sysv_shm_calculator_client", {path},
      {stdin = "pipe", stdout = "pipe"})
  end
  for i, client in ipairs(clients) do
    local answers = client:communicate(QUESTIONS, 5)
    scene.check(answers == ANSWERS, answers)
    scene.tell("client %d: %s", i, answers:gsub("\n", "; "))
    client:close()
  end
  local last <close> = scene.start("sysv_shm_calculator_client", {path},
    {stdin = "pipe", stdout = "pipe"})
  last:communicate("q\n", 5)
  local _, _, how, code = server:communicate(nil, 5)
  scene.expect("the server's status", how .. " " .. code, "exit 0")
end

return {
  title = "A calculator in shared memory, for Lua and for C",
  text = [[
Clients leave operands and an operator in a struct in shared memory, the server
answers there; semaphores say whose turn it is. The struct is that of the C
compiler: the second time the server is a program in C,
examples/sysv_shm_calculator_server.c.

From the client:]],
  show = {
    file = "sysv_shm_calculator_client.lua",
    from = "^local function ask",
    to = "^end",
  },
  play = function(scene)
    local path = scene.path "key" -- the servers make it
    local server <close> =
      scene.start("sysv_shm_calculator_server", {path}, {stdout = "pipe"})
    ask(scene, server, path)

    local program = scene.path "calculator"
    local source = scene.examples .. "/sysv_shm_calculator_server.c"
    if not os.execute(("cc -o %s %s 2>/dev/null"):format(program, source)) then
      os.remove(path)
      return scene.tell "(there is no C compiler here)"
    end
    local in_c <close> = assert(require("unixipc").process.spawn(
      {program, path}, {stdout = "pipe"}))
    ask(scene, in_c, path)
    os.remove(program)
    os.remove(path)
  end,
}
