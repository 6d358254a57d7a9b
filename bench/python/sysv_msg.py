"""System V message queues with sysv_ipc; compare bench/unixipc."""
import sysv_ipc
import bench


def self(n, size):
    queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
    message = b"x" * size

    def loop(count):
        for _ in range(count):
            queue.send(message, type=1)
            queue.receive(type=1)

    bench.measure(n, loop)
    queue.remove()


bench.main({"self": self})
