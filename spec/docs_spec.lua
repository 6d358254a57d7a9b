-- Each ```lua block of README.md and doc/*.md runs as it stands, in a fresh
-- directory, to its end. Lines before a block say what is special about it:
--   <!-- continues -->  the blocks before it in the file, up to one that does
--                       not continue, come first
--   <!-- not run -->    it does not end by itself, or wants somebody to talk to
local t = require "support"

local LUA = os.getenv "LUA" or "lua5.4"
local SECONDS = math.ceil(10 * t.slow)

local function lines_of(command)
  local list = {}
  local pipe <close> = assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

-- Adds a block to the list of those to run, unless it is not to be run.
local function add(blocks, block, marker, last)
  if marker == "continues" then
    assert(last, block.name .. " continues nothing")
    block.text = last.text .. block.text
  end
  if marker ~= "not run" then blocks[#blocks + 1] = block end
  return block
end

-- The blocks of a file, each {name = "doc/x.md:12", text = …}; lines of the
-- text have the numbers they have in the file, where it continues nothing.
local function blocks_of(path)
  local blocks, number, block, marker, last = {}, 0, nil, nil, nil
  for line in io.lines(path) do
    number = number + 1
    if block and line == "```" then
      last = add(blocks, block, marker, last)
      block, marker = nil, nil
    elseif block then
      block.text = block.text .. line .. "\n"
    elseif line == "```lua" then
      block = {name = path .. ":" .. number, text = ""}
    elseif line ~= "" then
      marker = line:match "^<!%-%- ([%a ]+) %-%->$"
    end
  end
  assert(not block, path .. ": a block has no end")
  return blocks
end

-- Runs it as a user would: `lua block.lua`. timeout(1) ends what it forked too.
local function run(block)
  local directory = lines_of("mktemp -d")[1]
  local file = assert(io.open(directory .. "/block.lua", "w"))
  file:write(block.text)
  file:close()
  local ok, how, code = os.execute(
    ("cd %s && timeout -k 5 %d %s block.lua >output 2>&1 </dev/null"):format(
      directory, SECONDS, LUA))
  local output <close> = assert(io.open(directory .. "/output"))
  local text = output:read "a"
  os.execute("rm -rf " .. directory)
  return ok, ("%s: %s %d\n%s"):format(block.name, how, code, text)
end

-- The first module that a block requires and that is not installed: the event
-- loops are optional.
local function missing(block)
  for name in block.text:gmatch 'require "([%w_.]+)"' do
    if not package.loaded[name]
      and not package.searchpath(name, package.path)
      and not package.searchpath(name, package.cpath) then
      return name
    end
  end
end

for _, path in ipairs(lines_of "ls README.md doc/*.md") do
  describe(path, function()
    for _, block in ipairs(blocks_of(path)) do
      it("runs line " .. block.name:match "%d+$", function()
        local name = missing(block)
        if name then return pending("needs " .. name) end
        local ok, what = run(block)
        assert.is_true(ok, what)
        assert.is_nil(what:find("traceback", 1, true), what) -- of a child
      end)
    end
  end)
end
