local t = require "support"
local errno = require "unixipc.errno"

-- Every name with its number, as Python has them.
local function python_names()
  local pipe <close> = assert(io.popen(
    [[python3 -c "
import errno
for name in dir(errno):
    if name[0] == 'E': print(name, getattr(errno, name))"]]))
  local names = {}
  for name, number in pipe:read "a":gmatch "(%w+) (%d+)" do
    names[name] = math.tointeger(tonumber(number))
  end
  return names
end

-- What the system itself says of an error: the message of a failed call.
local function words_of(path, mode)
  local _, message, number = io.open(path, mode)
  return message:sub(#path + 3), number
end

describe("errno", function()
  it("is a field of the package", function()
    assert.equal(errno, require("unixipc").errno)
  end)

  it("has the numbers of all names as fields", function()
    assert.equal(2, errno.ENOENT)
    assert.equal(32, errno.EPIPE)
    assert.equal(110, errno.ETIMEDOUT)
    assert.is_nil(errno.ENONSENSE)
  end)

  it("has no field that is neither a name nor a function", function()
    local functions = {name = true, number = true, strerror = true}
    local count = 0
    for name, value in pairs(errno) do
      if functions[name] then
        assert.is_function(value)
      else
        count = count + 1
        assert.truthy(name:find "^E[A-Z0-9]+$", name)
        assert.equal("integer", math.type(value), name)
      end
    end
    assert.is_true(count >= 80, "only " .. count)
  end)

  it("has the same numbers as Python", function()
    local count = 0
    for name, number in pairs(python_names()) do
      assert.equal(number, errno[name], name)
      assert.equal(number, errno.number(name), name)
      count = count + 1
    end
    assert.is_true(count >= 80, "Python knows only " .. count)
  end)

  describe("name", function()
    it("gives the name of a number", function()
      assert.equal("ENOENT", errno.name(2))
      assert.equal("ETIMEDOUT", errno.name(errno.ETIMEDOUT))
      assert.equal("EPIPE", errno.name(32.0))
    end)

    it("goes back and forth for every name", function()
      for name, number in pairs(errno) do
        if math.type(number) then
          assert.equal(number, errno.number(errno.name(number)), name)
        end
      end
    end)

    it("prefers the oldest of several names", function()
      assert.equal(errno.EAGAIN, errno.EWOULDBLOCK)
      assert.equal("EAGAIN", errno.name(errno.EWOULDBLOCK))
      assert.equal("EDEADLK", errno.name(errno.EDEADLOCK or errno.EDEADLK))
    end)

    it("is nil for a number without a name", function()
      for _, n in ipairs {0, -1, 4096, 2 ^ 31, 2 ^ 32 + 2,
        math.maxinteger, math.mininteger} do
        assert.equal(1, select("#", errno.name(n)))
        assert.is_nil(errno.name(n), n)
      end
    end)

    it("raises at what is not an integer", function()
      t.raises("number expected", errno.name)
      t.raises("number expected", errno.name, {})
      t.raises("number expected", errno.name, "ENOENT")
      t.raises("no integer representation", errno.name, 2.5)
      t.raises("no integer representation", errno.name, 0 / 0)
    end)
  end)

  describe("number", function()
    it("gives the number of a name", function()
      assert.equal(2, errno.number "ENOENT")
      assert.equal(errno.EAGAIN, errno.number "EWOULDBLOCK")
    end)

    it("is nil for what is not a name", function()
      for _, name in ipairs {"ENONSENSE", "", "enoent", "ENOENT ", "ENOEN",
        "ENOENT\0", "name", "strerror", "2"} do
        assert.equal(1, select("#", errno.number(name)))
        assert.is_nil(errno.number(name), ("%q"):format(name))
      end
    end)

    it("raises at what is not a string", function()
      t.raises("string expected", errno.number)
      t.raises("string expected", errno.number, {})
      t.raises("string expected", errno.number, nil)
    end)
  end)

  describe("strerror", function()
    it("says what the system says", function()
      local words, number = words_of("/nonexistent/file", "r")
      assert.equal(words, errno.strerror(number))
      assert.equal(words, errno.strerror "ENOENT")
      words, number = words_of("/", "w")
      assert.equal(errno.EISDIR, number)
      assert.equal(words, errno.strerror "EISDIR")
    end)

    it("has words for every name", function()
      local seen = {}
      for name, number in pairs(errno) do
        if math.type(number) then
          local words = errno.strerror(name)
          assert.equal(words, errno.strerror(number))
          assert.is_true(#words > 3, name)
          assert.is_nil(words:find "^Unknown", name)
          assert.is_true(seen[words] == nil or seen[words] == number, name)
          seen[words] = number
        end
      end
    end)

    it("has words even for a number without a name", function()
      assert.truthy(errno.strerror(4095):find "4095")
      assert.is_string(errno.strerror(0))
    end)

    it("raises at an unknown name and a wrong number", function()
      t.raises("unknown error 'ENONSENSE'", errno.strerror, "ENONSENSE")
      t.raises("no error number", errno.strerror, -1)
      t.raises("no error number", errno.strerror, 2 ^ 31)
      t.raises("no integer representation", errno.strerror, 1.5)
      t.raises("string expected", errno.strerror)
      t.raises("string expected", errno.strerror, {})
    end)
  end)
end)
