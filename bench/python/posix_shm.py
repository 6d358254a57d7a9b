"""multiprocessing.shared_memory; compare bench/unixipc/posix_shm.lua."""
from multiprocessing import resource_tracker, shared_memory
import bench

# Its tracker is another process, which is told of each: not part of the work.
resource_tracker.register = resource_tracker.unregister = lambda *_: None


def open_segment(n, size):
    made = shared_memory.SharedMemory(create=True, size=size)

    def loop(count):
        for _ in range(count):
            shared_memory.SharedMemory(made.name).close()

    bench.measure(n, loop)
    made.close()
    made.unlink()


def make(n, size):
    def loop(count):
        for _ in range(count):
            made = shared_memory.SharedMemory(create=True, size=size)
            made.close()
            made.unlink()

    bench.measure(n, loop)


bench.main({"open": open_segment, "make": make})
