"""What the benchmark programs in Python share; compare bench/lib/bench.lua."""
import sys
import time


def measure(n, loop):
    loop(n // 10)
    start = time.perf_counter_ns()
    loop(n)
    print("%.3f" % ((time.perf_counter_ns() - start) / n))


def main(commands):
    words = [int(w) if w.isdigit() else w for w in sys.argv[2:]]
    commands[sys.argv[1]](*words)
