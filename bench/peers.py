#!/usr/bin/env python3
"""The library beside Mooncake's wheel and NIXL/UCX, in turns on this machine: rates, latencies, CPU seconds per GiB.

  bench/peers.py tcp  [--sizes 4K,64K,1M,16M] [--batches 1,16,128] [--threads 1,2,4] [--ops write,read] [--reps 3] [--secs 1]
  bench/peers.py host [--sizes ...] [--reps 3] [--secs 1]

`tcp`  runs Mooncake's transfer_engine_bench (two processes, TCP, connection pool on) and `mooncake bench transfer`.
`host` runs two NIXL agents over UCX shared memory and `mooncake bench transfer` over cross-memory attach, on hot buffers.
The peers come by pip into a virtual environment of their own (PEERS, default ~/.cache/mooncake/peers).
MOONCAKE names our program; ./run bench peers sets it. Standard library only.
"""
import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import threading
import time

PEERS = os.environ.get("PEERS", os.path.expanduser("~/.cache/mooncake/peers"))
PYTHON = os.path.join(PEERS, "bin", "python")
PACKAGES = ["mooncake-transfer-engine-non-cuda==0.3.13.post1", "numpy"]
# NIXL asks for torch, which neither its API nor UCX needs.
BARE_PACKAGES = ["nixl==1.4.0", "nixl-cu12==1.4.0"]
SIZES = {"4K": 4096, "64K": 65536, "1M": 1 << 20, "16M": 16 << 20}
GIB = float(1 << 30)
TICKS = os.sysconf("SC_CLK_TCK")
CAP = 1 << 30
HERE = os.path.dirname(os.path.abspath(__file__))


def set_up():
    """Installs the peers, once."""
    if os.path.exists(os.path.join(PEERS, "ready")):
        return
    subprocess.check_call([sys.executable, "-m", "venv", PEERS])
    pip = [PYTHON, "-m", "pip", "install", "-q"]
    subprocess.check_call(pip + PACKAGES)
    subprocess.check_call(pip + ["--no-deps"] + BARE_PACKAGES)
    open(os.path.join(PEERS, "ready"), "w").close()


def cpu_of(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def median(values):
    return statistics.median(values) if values else float("nan")


class Wheel:
    """Mooncake's own benchmark program, one target for all runs."""

    def __init__(self):
        code = "import mooncake, os; print(os.path.dirname(mooncake.__file__))"
        folder = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True).stdout.split("\n")[0]
        self.program = os.path.join(folder, "transfer_engine_bench")
        self.env = dict(os.environ, GLOG_logtostderr="1", GLOG_minloglevel="0", MC_TCP_ENABLE_CONNECTION_POOL="1")
        self.target = self.start("--mode=target", "--local_server_name=127.0.0.1", "--buffer_size=%d" % CAP)
        self.name = None
        for line in self.target.stderr:
            found = re.search(r"listening on (\S+:\d+)", line)
            if found:
                self.name = found.group(1)
                break
        if not self.name:
            sys.exit("Mooncake's target did not start")
        threading.Thread(target=lambda: [None for _ in self.target.stderr], daemon=True).start()
        time.sleep(1)  # it touches its buffer after that line

    def start(self, *arguments):
        command = [self.program, "--metadata_server=P2PHANDSHAKE", "--protocol=tcp", *arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.env)

    def run(self, size, batch, threads, op, secs):
        there, here = cpu_of(self.target.pid), children_cpu()
        process = self.start(
            "--mode=initiator", "--local_server_name=127.0.0.1:%d" % random.randint(20000, 30000),
            "--segment_id=" + self.name, "--buffer_size=%d" % max(size * batch * threads, 1 << 20),
            "--block_size=%d" % size, "--batch_size=%d" % batch, "--threads=%d" % threads, "--operation=" + op,
            "--duration=%d" % max(1, round(secs)))
        try:
            text = process.communicate(timeout=secs + 60)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None
        found = re.search(r"duration ([\d.]+), batch count (\d+)", text)
        if not found or not int(found.group(2)):
            return None
        seconds, count = float(found.group(1)), int(found.group(2))
        gib = count * batch * size / GIB
        cpu = cpu_of(self.target.pid) - there + children_cpu() - here
        return {"rate": gib / seconds, "us": seconds * threads / count * 1e6, "cpu": cpu / gib}

    def stop(self):
        self.target.terminate()
        self.target.wait()


def ours(path, size, batch, threads, op, secs, *more):
    command = [os.environ.get("MOONCAKE", "mooncake"), "bench", "transfer", "--json", "--path", path, "--size", str(size),
               "--batch", str(batch), "--threads", str(threads), "--op", op, "--secs", str(secs), "--reps", "1", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not rows:
        print("failed:", " ".join(command), done.stderr.strip(), file=sys.stderr)
        return None
    row = rows[0]
    return {"rate": row["gib_per_s"], "us": row["p50_us"], "cpu": row["cpu_s_per_gib"]}


def in_turns(cells, reps, run_a, run_b):
    """Runs a and b back to back for each cell, in changing order; returns the cells with the results of both."""
    results = {cell: ([], []) for cell in cells}
    for rep in range(reps):
        order = list(cells)
        random.shuffle(order)
        for cell in order:
            pair = [(0, run_a), (1, run_b)]
            for which, run in pair if rep % 2 == 0 else pair[::-1]:
                result = run(*cell)
                if result:
                    results[cell][which].append(result)
    return results


def table(results, title, peer):
    print(title)
    print("%-5s %5s %3s %-5s | %8s %8s %8s | %9s %9s %9s | %s" % (
        "size", "batch", "thr", "op", "GiB/s", "us", "cpus/GiB", peer + " GiB/s", "us", "cpus/GiB", "rate, CPU (ours / peer)"))
    for (size, batch, threads, op), (a, b) in results.items():
        row = [median([one[key] for one in side]) for side in (a, b) for key in ("rate", "us", "cpu")]
        ratios = "x%.2f  x%.2f" % (row[0] / row[3], row[2] / row[5]) if a and b else "no result"
        print("%-5s %5d %3d %-5s | %8.3f %8.1f %8.3f | %9.3f %9.1f %9.3f | %s" % (size, batch, threads, op, *row, ratios))


def over_tcp(options):
    cells = [(size, batch, threads, op)
             for size in options.sizes for threads in options.threads for batch in options.batches for op in options.ops
             if SIZES[size] * batch * threads <= CAP // 4]
    wheel = Wheel()
    try:
        results = in_turns(
            cells, options.reps,
            lambda size, batch, threads, op: ours("tcp", SIZES[size], batch, threads, op, options.secs),
            lambda size, batch, threads, op: wheel.run(SIZES[size], batch, threads, op, options.secs))
    finally:
        wheel.stop()
    table(results, "TCP on loopback: this library beside Mooncake's wheel", "wheel")


def over_host(options):
    cells = [(size, batch, 1, op) for size in options.sizes for batch in (1, 16) for op in options.ops
             if SIZES[size] * batch <= 256 << 20]

    def nixl(size, batch, _threads, op):
        command = [PYTHON, os.path.join(HERE, "nixl_pair.py"), str(SIZES[size]), str(batch), op, str(options.secs)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.secs + 120)
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return rows[0] if rows else None

    results = in_turns(
        cells, options.reps,
        lambda size, batch, threads, op: ours("cma", SIZES[size], batch, threads, op, options.secs, "--hot"),
        nixl)
    table(results, "Same host, ordinary memory, hot: this library beside NIXL over UCX shared memory", "NIXL")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tcp", "host"])
    words = lambda text: text.split(",")
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser.add_argument("--sizes", type=words, default=words("4K,64K,1M,16M"))
    parser.add_argument("--batches", type=numbers, default=[1, 16, 128])
    parser.add_argument("--threads", type=numbers, default=[1, 2, 4])
    parser.add_argument("--ops", type=words, default=words("write,read"))
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--secs", type=float, default=1)
    options = parser.parse_args()
    set_up()
    print("load average at the start: %.2f" % os.getloadavg()[0])
    (over_tcp if options.what == "tcp" else over_host)(options)


if __name__ == "__main__":
    main()
