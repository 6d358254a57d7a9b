local ipc = require "unixipc"

local function run(...)
  local argv = {...}
  local program <close>, child = assert(ipc.pipe.popen(argv))
  local output = assert(program:read("a", 9))
  local how, code = child:wait(5)
  assert(how == "exit" and code == 0, argv[1] .. " failed")
  return output
end

-- The project's own source files.
local function own_files(scene)
  local root = scene.examples .. "/.."
  local files = {}
  local found = run("find", root .. "/csrc", root .. "/lua", scene.examples,
    "-name", "*.[ch]", "-o", "-name", "*.lua")
  for path in found:gmatch "[^\n]+" do files[#files + 1] = path end
  table.sort(files)
  return files
end

local function counts_of(output)
  local counts = {}
  for count, name in output:gmatch "(%d+) ([^\n]+)\n" do
    counts[name] = tonumber(count)
  end
  return counts
end

return {
  title = "Counting words with four processes",
  text = [[
Four forks of a process share out the project's own files and count their
words. One pipe brings back the counts, as messages: each is sent whole and
received whole, whoever else is writing. wc counts the same files after them.

From examples/process_wordcount.lua:]],
  show = {
    file = "process_wordcount.lua",
    from = "^local function work",
    to = "^end$",
  },
  play = function(scene)
    local files = own_files(scene)
    local ours = counts_of(run(scene.lua,
      scene.examples .. "/process_wordcount.lua", "-j", "4",
      table.unpack(files)))
    local theirs = counts_of(run("env", "LC_ALL=C.UTF-8", "wc", "-w",
      table.unpack(files)))
    scene.check(#files > 10, "there are too few files")
    for _, path in ipairs(files) do
      scene.check(ours[path] == theirs[path], path .. ": "
        .. tostring(ours[path]) .. " words, wc says "
        .. tostring(theirs[path]))
    end
    scene.tell("files: %d, each with as many words as wc says", #files)
    scene.expect("words in all of them", ours.total, theirs.total)
  end,
}
