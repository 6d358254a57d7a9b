-- The codec alone, against others that are in C, and one in Lua.
local function row(word, which, label, n)
  return {
    name = ("codec: %s, %s"):format(word, label),
    unit = "ns",
    n = n,
    cores = 1,
    run = ("codec %s {n} %s"):format(word, which),
    competitors = { "unixipc", "cjson", "msgpack", "messagepack" },
    goals = {
      { vs = "cjson", max = 1.0 },
      { vs = "msgpack", max = 1.0 },
      { vs = "messagepack", max = 0.2 },
    },
  }
end

return {
  row("encode", "small", "a table of four fields", 500000),
  row("decode", "small", "a table of four fields", 500000),
  row("encode", "large", "50 nested tables", 5000),
  row("decode", "large", "50 nested tables", 5000),
}
