"""Locks on files in Python: fcntl; compare bench/unixipc/lock.lua."""
import fcntl
import tempfile
import bench


def record(n):
    file = tempfile.TemporaryFile()

    def loop(count):
        for _ in range(count):
            fcntl.lockf(file, fcntl.LOCK_EX, 1)
            fcntl.lockf(file, fcntl.LOCK_UN, 1)

    bench.measure(n, loop)


def whole(n):
    file = tempfile.TemporaryFile()

    def loop(count):
        for _ in range(count):
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.flock(file, fcntl.LOCK_UN)

    bench.measure(n, loop)


bench.main({"fcntl": record, "flock": whole})
