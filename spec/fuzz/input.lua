--- The bytes of a fuzzer as choices, for what is more than bytes itself. At
-- their end all is 0, and "".
local input = {}
input.__index = input

function input.new(bytes)
  return setmetatable({bytes = bytes, at = 1}, input)
end

function input:byte()
  local byte = self.bytes:byte(self.at)
  self.at = self.at + 1
  return byte or 0
end

--- One of 1 to n.
function input:choice(n)
  return self:byte() % n + 1
end

function input:one_of(list)
  if #list == 0 then return nil end
  return list[self:choice(#list)]
end

--- Eight bytes, or what there is of them.
function input:integer()
  return (string.unpack("<i8", self:take(8) .. ("\0"):rep(8)))
end

function input:number()
  return (string.unpack("<d", self:take(8) .. ("\0"):rep(8)))
end

--- At most n bytes.
function input:take(n)
  local bytes = self.bytes:sub(self.at, self.at + n - 1)
  self.at = self.at + n
  return bytes
end

function input:string()
  return self:take(self:byte())
end

function input:rest()
  return self.bytes:sub(self.at)
end

function input:is_done()
  return self.at > #self.bytes
end

return input
