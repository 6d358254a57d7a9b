"""multiprocessing.Queue; compare bench/unixipc/channel.lua."""
import multiprocessing
import os

from bench import main, measure


def supply(queue, n):
    value = {"id": 1, "name": "some name", "price": 1.5, "ok": True}
    for _ in range(n):
        queue.put(value)


def tables(n, cpu):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=supply, args=(queue, n + n // 10))
    child.start()
    os.sched_setaffinity(child.pid, {cpu})

    def loop(count):
        for _ in range(count):
            queue.get()

    measure(n, loop)
    child.join()


main({"tables": tables})
