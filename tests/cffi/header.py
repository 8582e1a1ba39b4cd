"""Does the header parse with cffi as it is, and do calls work through it, so that any language can bind it?"""

import os
import pathlib
import subprocess
import sys

import cffi

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"


def declarations():
    """The header as the C preprocessor leaves it, without the bodies of the defaults, which cffi does not take."""
    source = "#include <mooncake/api.h>\n"
    # System headers are only needed for their types, which cffi knows.
    done = subprocess.run(
        [os.environ.get("CC", "cc"), "-E", "-P", "-I", str(INCLUDE), "-D__attribute__(x)=", "-x", "c", "-"],
        input=source, capture_output=True, text=True, check=True)
    start = done.stdout.index("typedef struct mc_")
    return done.stdout[start:]


def find_library():
    named = os.environ.get("MOONCAKE_LIBRARY")
    if named:
        return named
    prefix = os.environ.get("PREFIX")
    return str(pathlib.Path(prefix) / "lib" / "libmooncake.so") if prefix else "libmooncake.so"


def main():
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    library = ffi.dlopen(find_library())

    assert ffi.string(library.mc_version()).count(b".") == 2, ffi.string(library.mc_version())

    def check(status):
        assert status == 0, (ffi.string(library.mc_status_name(status)), ffi.string(library.mc_last_error_message()))

    def sized(kind):
        value = ffi.new(kind + " *")
        value.struct_size = ffi.sizeof(kind)
        return value

    options = sized("mc_engine_options_t")
    address = ffi.new("char[]", b"127.0.0.1")
    options.bind_address = address
    out_engine = ffi.new("mc_engine_t **")
    check(library.mc_engine_create(options, out_engine))
    engine = out_engine[0]

    info = sized("mc_engine_info_t")
    check(library.mc_engine_get_info(engine, info))
    assert ffi.string(info.address) == b"127.0.0.1:%d" % info.port, ffi.string(info.address)

    memory = ffi.new("char[]", 8192)
    ffi.memmove(memory, b"key value" * 100, 900)
    region = ffi.new("mc_region_t *")
    check(library.mc_memory_register(engine, memory, 8192, ffi.NULL, region))
    request = ffi.new("mc_request_t *")
    request.opcode = 2  # MC_OPCODE_WRITE
    request.segment = info.local_segment
    request.remote = int(ffi.cast("uint64_t", memory)) + 4096
    request.local = memory
    request.length = 900
    batch = ffi.new("mc_batch_t *")
    check(library.mc_batch_submit(engine, request, 1, ffi.NULL, batch))
    check(library.mc_batch_wait(engine, batch[0], -1, ffi.NULL))
    check(library.mc_batch_release(engine, batch[0]))
    assert ffi.buffer(memory, 8192)[4096:4996] == b"key value" * 100

    check(library.mc_engine_destroy(engine))
    status = library.mc_engine_destroy(engine)
    assert ffi.string(library.mc_status_name(status)) == b"INVALID_HANDLE", status
    return 0


if __name__ == "__main__":
    sys.exit(main())
