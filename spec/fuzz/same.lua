-- Are two values equal, with all that is in them? nan is itself, 1 is not 1.0.
local function same(a, b)
  if type(a) ~= "table" then
    return a == b and math.type(a) == math.type(b) or a ~= a and b ~= b
  end
  if type(b) ~= "table" or getmetatable(a) ~= getmetatable(b) then
    return false
  end
  for key, value in next, a do
    if not same(value, rawget(b, key)) then return false end
  end
  for key in next, b do
    if rawget(a, key) == nil then return false end
  end
  return true
end

return same
