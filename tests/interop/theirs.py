"""An engine of Mooncake's, driven by commands: each line in is a JSON list, each line out its result. Run by the Python
that has the wheel; theirs() starts one from a test."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time


def pattern(seed, length):
    """Bytes that differ from those around them and from other seeds, made fast."""
    import random
    block = random.Random(seed).randbytes((1 << 20) + 7)
    return (block * (length // len(block) + 1))[:length]


class Theirs:
    """The engine in its own process."""

    def __init__(self, python, metadata="P2PHANDSHAKE", name="127.0.0.1", log=None, env=None):
        self.process = subprocess.Popen(
            [python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log or subprocess.DEVNULL, text=True, env=dict(os.environ, **(env or {})))
        self.lock = threading.Lock()
        port = self("start", name, metadata)
        self.name = "%s:%d" % (name.split(":")[0], port) if metadata == "P2PHANDSHAKE" else name

    def __call__(self, *command):
        with self.lock:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            while True:
                line = self.process.stdout.readline()
                if not line:
                    raise EOFError("Mooncake's engine ended with %s" % self.process.wait())
                if line.startswith("> "):
                    break
        answer = json.loads(line[2:])
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def stop(self):
        """Stops it; on return none of its threads runs any more."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = "/proc/%d/task" % self.process.pid
        while True:
            states = []
            for task in os.listdir(tasks):
                with open("%s/%s/stat" % (tasks, task)) as stat:
                    states.append(stat.read().rsplit(")", 1)[1].split()[0])
            if all(state == "T" for state in states):
                return
            time.sleep(0.001)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process.stdout.close()


class Commands:
    """What the engine can be told."""

    def start(self, name, metadata):
        from mooncake.engine import TransferEngine
        self.engine = TransferEngine()
        assert self.engine.initialize(name, metadata, "tcp", "") == 0, "initialize"
        self.buffers = {}
        return self.engine.get_rpc_port()

    def memory(self, length):
        buffer = ctypes.create_string_buffer(length)
        address = ctypes.addressof(buffer)
        assert self.engine.register_memory(address, length) == 0, "register_memory"
        self.buffers[address] = buffer
        return address

    def forget(self, address):
        return self.engine.unregister_memory(address)

    def fill(self, address, seed, length, offset=0):
        ctypes.memmove(address + offset, pattern(seed, length), length)

    def holds(self, address, seed, length, offset=0):
        return ctypes.string_at(address + offset, length) == pattern(seed, length)

    def read(self, peer, local, remote, length):
        return self.engine.transfer_sync_read(peer, local, remote, length)

    def write(self, peer, local, remote, length):
        return self.engine.transfer_sync_write(peer, local, remote, length)

    def batch(self, peer, kind, locals_, remotes, lengths):
        return getattr(self.engine, "batch_transfer_" + kind)(peer, locals_, remotes, lengths)

    def batch_async(self, peer, kind, locals_, remotes, lengths):
        batch = getattr(self.engine, "batch_transfer_async_" + kind)(peer, locals_, remotes, lengths)
        return self.engine.get_batch_transfer_status([batch]) if batch else -1

    def threads(self, peer, kind, plan):
        """Each of the lists of (local, remote, length) on a thread of its own."""
        move = self.engine.transfer_sync_read if kind == "read" else self.engine.transfer_sync_write
        failures = []

        def work(pieces):
            for local, remote, length in pieces:
                if move(peer, local, remote, length) != 0:
                    failures.append(local)
        workers = [threading.Thread(target=work, args=(pieces,)) for pieces in plan]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return len(failures)

    def write_notify(self, peer, local, remote, length, name, message):
        from mooncake.engine import TransferNotify, TransferOpcode
        return self.engine.transfer_sync(
            peer, local, remote, length, TransferOpcode.Write, TransferNotify(name, message))

    def notifies(self):
        return [[one.name, one.msg] for one in self.engine.get_notifies()]

    def probe(self, peer):
        return self.engine.send_probe(peer)

    def first(self, peer):
        return self.engine.get_first_buffer_address(peer)

    def has(self, name):
        return hasattr(self.engine, name)


def main():
    commands = Commands()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"result": getattr(commands, name)(*arguments)}
        except Exception as error:  # Told to the test, which knows what it expects.
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        print("> " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
