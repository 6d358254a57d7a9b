-- Sockets. Two processes that wait for each other; one way; a server.
local function round_trip(kind, cores, n, goals)
  local competitors = { "unixipc", "c", "luaposix" }
  if kind ~= "seqpacket" then
    table.insert(competitors, {
      name = "luasocket",
      run = ("socket roundtrip %s {n} 64 {peer} {dir}"):format(kind),
    })
  end
  return {
    name = ("socket: round trip, %s, 64 B, %d core%s"):format(kind, cores,
      cores > 1 and "s" or ""),
    unit = "ns",
    n = n,
    cores = cores,
    run = ("socket roundtrip %s {n} 64 {peer}"):format(kind),
    competitors = competitors,
    goals = goals,
  }
end

local STRICT = {
  { vs = "c", max = 1.10 },
  { vs = "luaposix", max = 0.90 },
  { vs = "luasocket", max = 0.90 },
}

return {
  round_trip("stream", 2, 30000, STRICT),
  round_trip("datagram", 2, 30000, STRICT),
  round_trip("seqpacket", 2, 30000, { STRICT[1], STRICT[2] }),
  round_trip("stream", 1, 100000, { { vs = "c", max = 1.20 } }),
  {
    name = "socket: framed messages in batches, 64 B",
    unit = "ns",
    n = 1000000,
    run = "socket framed {n} 64 {peer}",
    competitors = {
      "unixipc",
      {
        name = "luaposix, each by itself",
        peer = "luaposix",
        run = "socket oneway stream {n} 64 {peer}",
      },
    },
    goals = { { vs = "luaposix, each by itself", max = 1 / 7 } },
  },
  {
    name = "socket: one way, stream, 64 KiB",
    unit = "ns",
    n = 20000,
    run = "socket oneway stream {n} 65536 {peer}",
    competitors = { "unixipc", "c", "luaposix" },
    goals = { { vs = "c", max = 1.11 } },
  },
  {
    name = "socket: echo server, 100 clients, a line",
    unit = "ns",
    n = 100000,
    by = "c",
    run = "socket load {n} {dir}/echo",
    beside = "socket server {dir}/echo",
    competitors = { "unixipc", "c", "cqueues", "luv" },
    goals = {
      { vs = "cqueues", max = 1.0 },
      { vs = "luv", max = 1.0 },
    },
  },
}
