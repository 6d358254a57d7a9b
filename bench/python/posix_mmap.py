"""A mapped file in Python; compare bench/unixipc/mmap.lua. (A program of the
name mmap.py would hide the module.)"""
import mmap
import tempfile
import bench

SIZE, RECORD = 1 << 20, 64


def records(n):
    file = tempfile.TemporaryFile()
    file.truncate(SIZE)
    memory = mmap.mmap(file.fileno(), SIZE)

    def loop(count):
        at = 0
        for _ in range(count):
            at = (at * 1103515245 + 12345) % (SIZE // RECORD)
            place = at * RECORD
            memory[place:place + RECORD] = memory[place:place + RECORD]

    bench.measure(n, loop)


def map_page(n):
    def loop(count):
        for _ in range(count):
            mmap.mmap(-1, 4096).close()

    bench.measure(n, loop)


bench.main({"records": records, "map": map_page})
