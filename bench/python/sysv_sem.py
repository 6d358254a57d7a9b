"""System V semaphores with sysv_ipc; compare bench/unixipc."""
import sysv_ipc
import bench


def self(n):
    semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)

    def loop(count):
        for _ in range(count):
            semaphore.release()
            semaphore.acquire()

    bench.measure(n, loop)
    semaphore.remove()


bench.main({"self": self})
