"""Our engine with Mooncake's at the other end, beside Mooncake's with its own: interleaved pairs, connection pool on.

  ./run bench interop [--sizes 4K,64K,1M,16M] [--batches 1,16] [--ops write,read] [--pairs 5] [--secs 1]

Mooncake's end is its wheel's transfer_engine_bench; ours is `mooncake bench transfer --compat`, which moves the same
blocks again and again as that does. The wheel comes by pip, as for ./run bench peers. Standard library only.
"""

import argparse
import json
import os
import subprocess
import sys

from peers import CAP, GIB, SIZES, Wheel, median, set_up

MOONCAKE = os.environ.get("MOONCAKE", "mooncake")


class Ours:
    """Our target, for Mooncake's initiators."""

    def __init__(self):
        self.process = subprocess.Popen(
            [MOONCAKE, "bench", "transfer", "--compat", "--target", "--buffer", str(CAP)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("target ready at "):
            sys.exit("our target did not start")
        self.name = line.split()[-1]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def initiate(name, size, batch, op, secs):
    """Our initiator; GiB/s."""
    command = [MOONCAKE, "bench", "transfer", "--compat", "--initiator", name, "--size", str(size), "--batch", str(batch),
               "--op", op, "--secs", str(secs), "--reps", "1", "--buffer", str(max(size * batch, 1 << 20))]
    done = subprocess.run(command, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not rows:
        print("failed:", " ".join(command), done.stderr.strip(), file=sys.stderr)
        return None
    return rows[0]["gib_per_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="4K,64K,1M,16M")
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--ops", default="write,read")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--secs", type=float, default=1.0)
    args = parser.parse_args()
    set_up()
    wheel, ours = Wheel(), Ours()
    theirs = wheel.name

    def run(kind, size, batch, op):
        if kind == "ours to theirs":
            return initiate(theirs, size, batch, op, args.secs)
        wheel.name = ours.name if kind == "theirs to ours" else theirs
        row = wheel.run(size, batch, 1, op, args.secs)
        return row and row["rate"]
    kinds = ["theirs to theirs", "ours to theirs", "theirs to ours"]
    print("%-5s %-6s %5s | %16s | %24s | %24s" % ("size", "op", "batch", "among themselves", "ours to theirs", "theirs to ours"))
    worst = 9.9
    for text in args.sizes.split(","):
        size = SIZES[text]
        for batch in map(int, args.batches.split(",")):
            for op in args.ops.split(","):
                rates = {kind: [] for kind in kinds}
                for turn in range(args.pairs):
                    # Another one begins each time.
                    for kind in kinds[turn % 3:] + kinds[:turn % 3]:
                        rates[kind].append(run(kind, size, batch, op) or 0.0)
                base = rates[kinds[0]]
                cells = []
                for kind in kinds[1:]:
                    pairs = [rate / other for rate, other in zip(rates[kind], base) if other]
                    ratio = median(pairs)
                    worst = min(worst, ratio)
                    cells.append("%8.3f x%.2f (%.2f..%.2f)" % (median(rates[kind]), ratio, min(pairs), max(pairs)))
                print("%-5s %-6s %5d | %10.3f GiB/s | %24s | %24s" % (text, op, batch, median(base), *cells), flush=True)
    print("worst median ratio: x%.2f; %.0f MiB targets, 1 thread" % (worst, CAP / GIB * 1024))
    ours.stop()
    wheel.stop()


if __name__ == "__main__":
    main()
