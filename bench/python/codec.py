"""MessagePack by Python's msgpack, which is in C; compare
bench/unixipc/codec.lua."""
import msgpack

from bench import main, measure


def order(i):
    return {
        "id": i, "name": "order number %d" % i, "price": i + 0.25,
        "ok": i % 2 == 0, "tags": ["new", "paid", "on its way"],
        "place": {"x": i * 1.5, "y": -i},
        "counts": [i, i * 100, i * 100000, 0, 1],
    }


VALUES = {
    "small": {"id": 1, "name": "some name", "price": 1.5, "ok": True},
    "large": {"id": 1, "orders": [order(i) for i in range(1, 51)]},
}


def encode(n, which):
    value, pack = VALUES[which], msgpack.packb

    def loop(count):
        for _ in range(count):
            pack(value)

    measure(n, loop)


def decode(n, which):
    data, unpack = msgpack.packb(VALUES[which]), msgpack.unpackb

    def loop(count):
        for _ in range(count):
            unpack(data)

    measure(n, loop)


main({"encode": encode, "decode": decode})
