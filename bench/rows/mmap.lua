-- Mapped files: records read and written at random places; and mapping.
return {
  {
    name = "mmap: 64 B read and written back in a mapped file",
    unit = "ns",
    n = 1000000,
    cores = 1,
    run = "mmap records {n}",
    competitors = {
      "unixipc", "c",
      { name = "stock io", peer = "unixipc", run = "mmap stock {n}" },
      { name = "python", run = "posix_mmap records {n}" },
    },
    goals = { { vs = "stock io", max = 0.20 }, { vs = "python", max = 1.00 } },
  },
  {
    name = "mmap: a page mapped and unmapped",
    unit = "ns",
    n = 100000,
    cores = 1,
    run = "mmap map {n}",
    competitors = {
      "unixipc", "c", { name = "python", run = "posix_mmap map {n}" },
    },
    goals = { { vs = "c", max = 1.50 } },
  },
}
