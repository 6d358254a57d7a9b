-- Counts the words of files with several processes, like `wc -w`.
--
--   lua5.4 examples/process_wordcount.lua [-j WORKERS] [file...]
--
-- Each worker is a fork of this process, so it has the list of files already;
-- what comes back is a message for each file, over one pipe for all workers.
local ipc = require "unixipc"

-- What a message holds: which file, how many words, what went wrong.
local RESULT = "i4 i8 s2"

local function count_words(path)
  local file <close>, message = io.open(path, "rb")
  if not file then return 0, message end
  local words = 0
  for line in file:lines() do
    for _ in line:gmatch "%S+" do words = words + 1 end
  end
  return words, ""
end

-- In the child: every so-manieth file. A message of up to 4096 bytes (PIPE_BUF)
-- goes into the pipe in one piece, so those of several workers cannot mix.
local function work(files, first, step, results)
  for i = first, #files, step do
    local words, why = count_words(files[i])
    assert(results:send(RESULT:pack(i, words, why:sub(1, 1000))))
  end
end

local function start_workers(files, count, results)
  local workers = {}
  for first = 1, count do
    workers[first] =
      assert(ipc.process.fork(work, files, first, count, results))
  end
  return workers
end

-- Returns the counts by file, and what went wrong by file.
local function count_all(files, count)
  local r, w = assert(ipc.pipe.open())
  local workers = start_workers(files, count, w)
  w:close() -- the end of file comes when the last worker has gone
  local words, problems = {}, {}
  while true do
    local message, trouble = r:receive()
    if not message then -- the end of file, or nil and what went wrong
      assert(not trouble, trouble)
      break
    end
    local i, n, why = RESULT:unpack(message)
    if why == "" then words[i] = n else problems[i] = why end
  end
  for _, worker in ipairs(workers) do
    local how, code = assert(worker:wait())
    assert(how == "exit" and code == 0, "a worker failed")
  end
  return words, problems
end

-- The files beside this one, when none are named.
local function own_files()
  local directory = arg[0]:match "^(.*)/" or "."
  local list <close> =
    assert(ipc.pipe.popen {"find", directory, "-name", "*.lua"})
  local files = {}
  for path in list:lines() do files[#files + 1] = path end
  return files
end

local files = table.move(arg, 1, #arg, 1, {})
local count = 4
if files[1] == "-j" then
  count = assert(math.tointeger(tonumber(files[2])), "-j wants a number")
  files = table.move(files, 3, #files, 1, {})
end
if #files == 0 then files = own_files() end

local words, problems = count_all(files, count)
local total, is_complete = 0, true
for i, path in ipairs(files) do
  if words[i] then
    print(("%7d %s"):format(words[i], path))
    total = total + words[i]
  else
    io.stderr:write(problems[i], "\n")
    is_complete = false
  end
end
if #files > 1 then print(("%7d total"):format(total)) end
os.exit(is_complete)
