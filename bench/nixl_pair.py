#!/usr/bin/env python3
"""One figure of two NIXL agents in two processes over UCX shared memory: nixl_pair.py SIZE BATCH write|read SECONDS

Run by peers.py with the Python that has NIXL. Prints one JSON line: median microseconds, GiB/s, CPU seconds per GiB.
"""
import base64
import ctypes
import json
import mmap
import os
import statistics
import subprocess
import sys
import time

os.environ["UCX_TLS"] = "sm,self,tcp"
os.environ.setdefault("NIXL_LOG_LEVEL", "ERROR")
BUFFER = 256 << 20
GIB = float(1 << 30)


def agent(name):
    import nixl_cu12._api as nixl
    made = nixl.nixl_agent(name, nixl.nixl_agent_config(backends=["UCX"]))
    memory = mmap.mmap(-1, BUFFER)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ctypes.memset(address, 5, BUFFER)
    made.register_memory([(address, BUFFER, 0, "")], "DRAM", backends=["UCX"])
    return made, memory, address


def cpu_of(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def target():
    made, _memory, address = agent("target")
    print("HERE", address, base64.b64encode(made.get_agent_metadata()).decode(), flush=True)
    sys.stdin.readline()
    os._exit(0)


def initiator(size, batch, op, seconds):
    there = subprocess.Popen([sys.executable, __file__, "target"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    try:
        remote, blob = next(line.split()[1:] for line in there.stdout if line.startswith("HERE"))
        made, _memory, local = agent("initiator")
        peer = made.add_remote_agent(base64.b64decode(blob))
        peer = peer.decode() if isinstance(peer, bytes) else peer
        near = made.get_xfer_descs([(local + i * size, size, 0) for i in range(batch)], "DRAM")
        far = made.get_xfer_descs([(int(remote) + i * size, size, 0) for i in range(batch)], "DRAM")
        handle = made.initialize_xfer(op.upper(), near, far, peer, backends=["UCX"])

        def once():
            state = made.transfer(handle)
            while state == "PROC":
                state = made.check_xfer_state(handle)
            assert state == "DONE", state

        once()
        took = []
        cpu, start = cpu_of(there.pid) + time.process_time(), time.perf_counter()
        while time.perf_counter() < start + seconds or len(took) < 3:
            before = time.perf_counter()
            once()
            took.append((time.perf_counter() - before) * 1e6)
        elapsed, gib = time.perf_counter() - start, len(took) * size * batch / GIB
        cpu = cpu_of(there.pid) + time.process_time() - cpu
        print(json.dumps({"us": statistics.median(took), "rate": gib / elapsed, "cpu": cpu / gib}), flush=True)
    finally:
        there.kill()
        there.wait()
    os._exit(0)


if sys.argv[1] == "target":
    target()
initiator(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
