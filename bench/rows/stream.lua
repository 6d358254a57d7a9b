-- Streams: what batching and buffering give.
return {
  {
    name = "stream: framed, batched, 64 B",
    unit = "ns",
    n = 500000,
    run = "stream frames {n} 64 {peer}",
    competitors = {
      "unixipc",
      "c",
      {
        name = "stock, a FIFO",
        peer = "stock",
        fifos = { "ping" },
        beside = "stream writer {n} 64 {dir}",
        run = "stream reader {n} 64 {dir}",
      },
      {
        name = "luaposix, a pipe",
        peer = "luaposix",
        run = "pipe oneway {n} 64 {peer}",
      },
    },
    goals = {
      { vs = "stock, a FIFO", max = 0.50 },
      { vs = "luaposix, a pipe", max = 1 / 7 },
    },
  },
  {
    name = "stream: lines from a pipe",
    unit = "ns",
    n = 1000000,
    feed = "c stream feed {n}",
    run = "stream lines {n}",
    competitors = { "unixipc", "c", "stock" },
    goals = { { vs = "stock", max = 1.00 } },
  },
}
