"""POSIX message queues in Python, by ctypes: it has no module for them."""
import ctypes
import os
import bench

libc = ctypes.CDLL(None, use_errno=True)


class Attributes(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_long), ("most", ctypes.c_long),
                ("size", ctypes.c_long), ("now", ctypes.c_long),
                ("rest", ctypes.c_long * 4)]


def new_queue():
    name = b"/bench-%d" % os.getpid()
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    mq = libc.mq_open(name, flags, 0o600, ctypes.byref(Attributes(0, 4, 256)))
    libc.mq_unlink(name)
    if mq < 0:
        raise OSError(ctypes.get_errno(), "mq_open")
    return mq


def self(n, size):
    mq, message = new_queue(), b"x" * size
    buffer = ctypes.create_string_buffer(256)

    def loop(count):
        for _ in range(count):
            libc.mq_send(mq, message, size, 0)
            buffer[:libc.mq_receive(mq, buffer, 256, None)]

    bench.measure(n, loop)


bench.main({"self": self})
