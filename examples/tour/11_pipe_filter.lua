local ipc = require "unixipc"

return {
  title = "A program as a filter",
  text = [[
popen starts a program with a stream to its input and from its output, which
io.popen cannot do. shutdown ends the input and leaves the output open. And a
program that is not there is told from one that failed.]],
  play = function(scene)
    -- show
    local sort, child = assert(ipc.pipe.popen({"sort", "-n"}, "rw"))
    for _, number in ipairs {10, 9, 100, 1} do
      sort:write(number, "\n")
    end
    sort:shutdown "write"
    local sorted = sort:read "a"
    local how, code = child:wait()
    local _, message, number = ipc.pipe.popen {"./no-such-program"}
    -- end
    scene.expect("sort -n answered", sorted, "1\n9\n10\n100\n")
    scene.expect("its status", how .. " " .. code, "exit 0")
    scene.expect("no such program", message,
      "exec: ./no-such-program: No such file or directory")
    scene.check(number == ipc.errno.ENOENT, "the errno is not ENOENT")
    sort:close()
  end,
}
