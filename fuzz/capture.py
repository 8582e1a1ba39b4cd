"""Makes the corpus: what two engines really say to each other, taken from the wire between them.

    MOONCAKE_LIBRARY=.../libmooncake.so python3 fuzz/capture.py

Each kind of frame is kept once per direction and size class, with its payload cut short.
"""

import hashlib
import pathlib
import socket
import struct
import sys
import threading

import cffi

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "cffi"))
from header import declarations, find_library  # noqa: E402  (the folder is known only now)

MAGIC = b"MCNATIV\xf5"
HEADER = struct.Struct("<8sBBHIQQQ")
ENTRY_LENGTH = {16: 24, 17: 24, 18: 16, 19: 8}
# Kinds of the target "control", by method.
CONTROL_KIND = {1: 0, 2: 1, 3: 2, 6: 3, 4: 4}
KEPT_PAYLOAD = 64


def keep(target, content):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(content).hexdigest()[:16]).write_bytes(content)


def frames_of(stream):
    """Header fields, header and entries (or body), and payload of each frame."""
    at = 0
    while at + HEADER.size <= len(stream):
        magic, _, method, _, count, _, length, _ = HEADER.unpack_from(stream, at)
        assert magic == MAGIC, stream[at:at + 8]
        end = at + HEADER.size + length
        if end > len(stream):
            return
        meta = count * ENTRY_LENGTH[method] if method in ENTRY_LENGTH else length
        yield method, stream[at:at + HEADER.size + meta], stream[at + HEADER.size + meta:end]
        at = end


def keep_stream(stream, seen):
    conversation = b""
    for method, meta, payload in frames_of(stream):
        kind = (method, len(meta).bit_length(), len(payload).bit_length())
        if kind in seen:
            continue
        seen.add(kind)
        keep("frame", (meta + payload)[:4096])
        if method in CONTROL_KIND:
            keep("control", bytes([CONTROL_KIND[method]]) + meta[HEADER.size:])
        conversation += meta[:200] + payload[:KEPT_PAYLOAD]
    if conversation:
        for lane in (1, 2):
            keep("session", bytes([lane]) + conversation[:4096])
        keep("session", b"\0" + stream[:4096])


class Wire:
    """A port in front of another, which writes down what passes."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.streams = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(self.target)
            for source, sink in ((near, far), (far, near)):
                stream = bytearray()
                self.streams.append(stream)
                threading.Thread(target=self.pass_on, args=(source, sink, stream), daemon=True).start()

    @staticmethod
    def pass_on(source, sink, stream):
        while data := source.recv(1 << 16):
            stream += data
            sink.sendall(data)
        sink.close()


def converse(ffi, library, key):
    """Everything that two engines can say, through a wire that listens."""
    def check(status):
        assert status == 0, ffi.string(library.mc_last_error_message())

    def sized(kind):
        value = ffi.new(kind + " *")
        value.struct_size = ffi.sizeof(kind)
        return value

    def engine():
        options = sized("mc_engine_options_t")
        texts = [ffi.new("char[]", b"127.0.0.1"), ffi.new("char[]", b"tcp"), ffi.new("char[]", key)]
        options.bind_address, options.transports = texts[0], texts[1]
        options.psk, options.psk_length = (texts[2], len(key)) if key else (ffi.NULL, 0)
        out = ffi.new("mc_engine_t **")
        check(library.mc_engine_create(options, out))
        info = sized("mc_engine_info_t")
        check(library.mc_engine_get_info(out[0], info))
        return out[0], info

    near, _ = engine()
    far, info = engine()
    wire = Wire(info.port)
    near_memory, far_memory = ffi.new("char[]", 1 << 20), ffi.new("char[]", 1 << 20)
    region, segment, batch = ffi.new("mc_region_t *"), ffi.new("mc_segment_t *"), ffi.new("mc_batch_t *")
    check(library.mc_memory_register(near, near_memory, 1 << 20, ffi.NULL, region))
    check(library.mc_memory_register(far, far_memory, 1 << 20, ffi.NULL, region))
    check(library.mc_segment_open(near, b"127.0.0.1:%d" % wire.port, -1, segment))
    for count in (1, 3, 40):
        for length in (1, 100, 5000):
            for opcode in (1, 2):
                requests = ffi.new("mc_request_t[]", count)
                for index in range(count):
                    requests[index].opcode = opcode
                    requests[index].segment = segment[0]
                    requests[index].remote = int(ffi.cast("uint64_t", far_memory)) + index * length
                    requests[index].local = near_memory + index * length
                    requests[index].length = length
                check(library.mc_batch_submit(near, requests, count, ffi.NULL, batch))
                check(library.mc_batch_wait(near, batch[0], -1, ffi.NULL))
                check(library.mc_batch_release(near, batch[0]))
    check(library.mc_notify_send(near, segment[0], b"tag", b"data", 4, -1))
    check(library.mc_segment_refresh(near, segment[0], -1))
    check(library.mc_segment_probe(near, segment[0], -1, sized("mc_probe_t")))
    blob, length = ffi.new("char[]", 4096), ffi.new("size_t *")
    check(library.mc_engine_export(far, ffi.NULL, 0, blob, 4096, length))
    keep("blob", ffi.buffer(blob, length[0])[:])
    for kind, name in enumerate(("engine_options", "memory_options", "batch_options", "cq_options", "engine_info")):
        keep("options", bytes([kind]) + bytes(ffi.buffer(sized(f"mc_{name}_t"))))
    check(library.mc_engine_destroy(near))
    check(library.mc_engine_destroy(far))
    seen = set()
    for stream in wire.streams:
        keep_stream(bytes(stream), seen)


def main():
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    library = ffi.dlopen(find_library())
    converse(ffi, library, b"")
    converse(ffi, library, b"a key of the two engines")
    settings = {"lanes": 2, "worker_threads": 3, "name": '"x"', "bind_address": '"127.0.0.1"', "checksum": '"off"',
                "transports": '"local,tcp"', "default_deadline_ms": 1000, "metadata": '"memory://m"', "listen": "false"}
    keep("config", b"\0" + "".join(f"{key} = {value}\n" for key, value in settings.items()).encode())
    keep("config", b"\1" + ("{" + ", ".join(f'"{key}": {value}' for key, value in settings.items()) + "}").encode())
    for target in sorted((HERE / "corpus").iterdir()):
        print(f"{target.name}: {len(list(target.iterdir()))} inputs")


if __name__ == "__main__":
    main()
