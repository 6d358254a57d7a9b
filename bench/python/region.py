"""Memory in Python: a memoryview; compare bench/unixipc/region.lua."""
import mmap
import bench


def integer(n):
    view = memoryview(mmap.mmap(-1, 4000)).cast("i")

    def loop(count):
        for i in range(count):
            view[4] = i
            view[4]

    bench.measure(n, loop)


bench.main({"integer": integer})
