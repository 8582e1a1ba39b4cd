"""An engine of ours, through the header."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cffi"))

import cffi  # noqa: E402
from header import declarations, find_library  # noqa: E402
from theirs import pattern  # noqa: E402,F401

READ, WRITE = 1, 2
COMPAT_OFF, COMPAT_ON, COMPAT_ALLOW = 1, 2, 3

ffi = cffi.FFI()
ffi.cdef(declarations())
lib = ffi.dlopen(find_library())


# What the library says, for whoever looks for the cause of a failure: INTEROP_LOG=5 for all of it.
if os.environ.get("INTEROP_LOG"):
    @ffi.callback("mc_log_fn")
    def to_stderr(_, level, *rest):
        texts = [ffi.string(one).decode() for one in rest if ffi.typeof(one) is ffi.typeof("const char *") and one]
        print(level, *texts, file=sys.stderr, flush=True)
    lib.mc_log_set_callback(to_stderr, ffi.NULL, ffi.NULL)
    lib.mc_log_set_level(int(os.environ["INTEROP_LOG"]))


class Failed(Exception):
    """A call that failed, by the name of its status."""

    def __init__(self, status):
        self.name = ffi.string(lib.mc_status_name(status)).decode()
        super().__init__(self.name + ": " + ffi.string(lib.mc_last_error_message()).decode())


def check(status):
    if status != 0:
        raise Failed(status)


def sized(kind):
    value = ffi.new(kind + " *")
    value.struct_size = ffi.sizeof(kind)
    return value


class Memory:
    """Registered memory of one engine."""

    def __init__(self, engine, length):
        self.engine, self.length = engine, length
        self.cdata = ffi.new("char[]", length)
        self.address = int(ffi.cast("uintptr_t", self.cdata))
        self.view = ffi.buffer(self.cdata)
        self.region = ffi.new("mc_region_t *")
        check(lib.mc_memory_register(engine.raw, self.cdata, length, ffi.NULL, self.region))

    def unregister(self):
        check(lib.mc_memory_unregister(self.engine.raw, self.region[0], 0))


class Engine:
    """Listens on loopback and speaks with Mooncake's engines."""

    def __init__(self, compat=COMPAT_ON, metadata=None, name=None, psk=None, keepalive_ms=0, cluster=None):
        options = sized("mc_engine_options_t")
        self.kept = []
        options.flags = 2  # MC_ENGINE_FLAG_NO_ENVIRONMENT
        options.bind_address = self.text("127.0.0.1")
        options.compat = compat
        options.keepalive_ms = keepalive_ms
        if metadata:
            options.metadata = self.text(metadata)
        if name:
            options.name = self.text(name)
        if cluster:
            options.metadata_cluster = self.text(cluster)
        if psk:
            options.psk, options.psk_length = self.text(psk), len(psk)
        out = ffi.new("mc_engine_t **")
        check(lib.mc_engine_create(options, out))
        self.raw = out[0]
        info = sized("mc_engine_info_t")
        check(lib.mc_engine_get_info(self.raw, info))
        self.port, self.address = info.port, ffi.string(info.address).decode()

    def text(self, value):
        self.kept.append(ffi.new("char[]", value.encode()))
        return self.kept[-1]

    def memory(self, length):
        return Memory(self, length)

    def open(self, name, timeout_ms=20000):
        out = ffi.new("mc_segment_t *")
        check(lib.mc_segment_open(self.raw, name.encode(), timeout_ms, out))
        return out[0]

    def regions(self, segment):
        info = sized("mc_segment_info_t")
        check(lib.mc_segment_get_info(self.raw, segment, info))
        return info.region_count

    def kind(self, segment):
        """How a peer is met: engines of Mooncake have no lanes before the first transfer, and no short paths."""
        info = sized("mc_segment_info_t")
        check(lib.mc_segment_get_info(self.raw, segment, info))
        return ffi.string(info.path).decode()

    def submit(self, segment, opcode, pieces, deadline_ms=0):
        """Starts a batch of (local address, remote address, length)."""
        requests = ffi.new("mc_request_t[]", len(pieces))
        for request, (local, remote, length) in zip(requests, pieces):
            request.opcode, request.segment = opcode, segment
            request.local, request.remote, request.length = ffi.cast("void *", local), remote, length
        options = sized("mc_batch_options_t")
        options.deadline_ms = deadline_ms
        batch = ffi.new("mc_batch_t *")
        check(lib.mc_batch_submit(self.raw, requests, len(pieces), options, batch))
        return batch[0]

    def wait(self, batch):
        """Waits for a batch and releases it; raises what it failed with."""
        try:
            check(lib.mc_batch_wait(self.raw, batch, 120000, ffi.NULL))
        finally:
            lib.mc_batch_release(self.raw, batch)

    def transfer(self, segment, opcode, pieces, deadline_ms=0):
        self.wait(self.submit(segment, opcode, pieces, deadline_ms))

    def notify(self, segment, tag, data, timeout_ms=20000):
        check(lib.mc_notify_send(self.raw, segment, tag.encode(), data, len(data), timeout_ms))

    def receive(self, timeout_ms=20000):
        info = sized("mc_notify_info_t")
        buffer = ffi.new("char[]", 1 << 20)
        check(lib.mc_notify_receive(self.raw, ffi.NULL, timeout_ms, buffer, 1 << 20, info))
        return ffi.string(info.tag).decode(), bytes(ffi.buffer(buffer, info.length))

    def probe(self, segment, timeout_ms=5000):
        info = sized("mc_probe_t")
        check(lib.mc_segment_probe(self.raw, segment, timeout_ms, info))
        return info.is_alive

    def close(self):
        if self.raw:
            check(lib.mc_engine_destroy(self.raw))
            self.raw = None


def wheel(age):
    """The Python of a virtual environment with Mooncake's wheel in it: "new" or "old"."""
    return os.environ["WHEEL_" + age.upper()]
