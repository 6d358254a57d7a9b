"""Mutex, semaphore and shared integer of multiprocessing; compare
bench/unixipc/sync.lua."""
import multiprocessing
import bench


def mutex(n):
    lock = multiprocessing.Lock()
    take, give = lock.acquire, lock.release

    def loop(count):
        for _ in range(count):
            take()
            give()

    bench.measure(n, loop)


def semaphore(n):
    sem = multiprocessing.Semaphore(0)
    post, wait = sem.release, sem.acquire

    def loop(count):
        for _ in range(count):
            post()
            wait()

    bench.measure(n, loop)


def add(n):
    value = multiprocessing.Value("q", 0)

    def loop(count):
        for _ in range(count):
            with value.get_lock():
                value.value += 1

    bench.measure(n, loop)
    assert value.value == n + n // 10


bench.main({"mutex": mutex, "semaphore": semaphore, "add": add})
