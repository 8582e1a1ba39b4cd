"""Mooncake's names on our library against a real engine of Mooncake, as a node of a running cluster that was changed over."""

import ctypes
import os
import time

from suite import case, main
from theirs import Theirs, pattern

PYTHON = os.environ["WHEEL_NEW"]
READ, WRITE = 0, 1
WAITING, COMPLETED, FAILED = 0, 4, 6


class Request(ctypes.Structure):
    _fields_ = [("opcode", ctypes.c_int), ("source", ctypes.c_void_p), ("target", ctypes.c_int32),
                ("offset", ctypes.c_uint64), ("length", ctypes.c_uint64)]


class Status(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("bytes", ctypes.c_uint64)]


class Message(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("text", ctypes.c_char_p)]


handle, batch_id = ctypes.c_void_p, ctypes.c_uint64
# Beside the library that a developer names, or in the prefix that ./run has installed.
folder = os.path.dirname(os.environ.get("MOONCAKE_LIBRARY", "")) or os.path.join(os.environ["PREFIX"], "lib")
lib = ctypes.CDLL(os.path.join(folder, "libtransfer_engine.so"))
for name, result, arguments in [
    ("createTransferEngine", handle, [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_int]),
    ("destroyTransferEngine", None, [handle]),
    ("getLocalIpAndPort", ctypes.c_int, [handle, ctypes.c_char_p, ctypes.c_size_t]),
    ("registerLocalMemory", ctypes.c_int,
     [handle, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int]),
    ("openSegment", ctypes.c_int32, [handle, ctypes.c_char_p]),
    ("openSegmentNoCache", ctypes.c_int32, [handle, ctypes.c_char_p]),
    ("allocateBatchID", batch_id, [handle, ctypes.c_size_t]),
    ("submitTransferWithNotify", ctypes.c_int,
     [handle, batch_id, ctypes.POINTER(Request), ctypes.c_size_t, Message]),
    ("submitTransfer", ctypes.c_int, [handle, batch_id, ctypes.POINTER(Request), ctypes.c_size_t]),
    ("getTransferStatus", ctypes.c_int, [handle, batch_id, ctypes.c_size_t, ctypes.POINTER(Status)]),
    ("freeBatchID", ctypes.c_int, [handle, batch_id]),
    ("genNotifyInEngine", ctypes.c_int, [handle, ctypes.c_uint64, Message]),
    ("getNotifsFromEngine", ctypes.POINTER(Message), [handle, ctypes.POINTER(ctypes.c_int)]),
    ("freeNotifsMsgBuf", ctypes.c_int, [ctypes.POINTER(Message), ctypes.c_int]),
]:
    function = getattr(lib, name)
    function.restype, function.argtypes = result, arguments


class Engine:
    def __init__(self, length):
        self.engine = lib.createTransferEngine(b"P2PHANDSHAKE", b"127.0.0.1", b"", 0, 1)
        assert self.engine
        self.block = ctypes.create_string_buffer(length)
        self.address = ctypes.addressof(self.block)
        assert lib.registerLocalMemory(self.engine, self.address, length, b"*", 1) == 0
        name = ctypes.create_string_buffer(64)
        assert lib.getLocalIpAndPort(self.engine, name, 64) == 0
        self.name = name.value.decode()

    def submit(self, opcode, peer, remote, sizes, told=None):
        """One batch of neighbouring pieces; the status of each."""
        target = lib.openSegment(self.engine, peer.encode())
        assert target > 0, target
        requests, at = (Request * len(sizes))(), 0
        for request, size in zip(requests, sizes):
            request.opcode, request.source, request.target = opcode, self.address + at, target
            request.offset, request.length = remote + at, size
            at += size
        batch = lib.allocateBatchID(self.engine, 1024)
        if told is None:
            assert lib.submitTransfer(self.engine, batch, requests, len(sizes)) == 0
        else:
            assert lib.submitTransferWithNotify(self.engine, batch, requests, len(sizes), Message(*told)) == 0
        statuses, status = [], Status()
        for task in range(len(sizes)):
            while True:
                assert lib.getTransferStatus(self.engine, batch, task, status) == 0
                if status.status != WAITING:
                    break
                time.sleep(0.001)
            statuses.append(status.status)
        assert lib.freeBatchID(self.engine, batch) == 0
        return statuses

    def notifies(self):
        count = ctypes.c_int()
        got = lib.getNotifsFromEngine(self.engine, count)
        texts = [[one.name.decode(), one.text.decode()] for one in got[:count.value]]
        assert lib.freeNotifsMsgBuf(got, count) == 0
        return texts

    def close(self):
        lib.destroyTransferEngine(self.engine)


def until(ask):
    """What `ask` says once it says anything."""
    for _ in range(3000):
        answer = ask()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError("nothing came")


LENGTH = 4 << 20
SIZES = [1, 3, 4096, 65537, 1 << 20]


@case
def our_names_write_and_read_their_memory():
    ours, theirs = Engine(LENGTH), Theirs(PYTHON)
    try:
        remote = theirs("memory", LENGTH)
        data = pattern(1, sum(SIZES))
        ctypes.memmove(ours.address, data, len(data))
        assert ours.submit(WRITE, theirs.name, remote, SIZES, (b"agent", b"written")) == [COMPLETED] * len(SIZES)
        assert theirs("notifies") == [["agent", "written"]]
        assert theirs("holds", remote, 1, len(data))
        ctypes.memset(ours.address, 0, LENGTH)
        assert ours.submit(READ, theirs.name, remote, SIZES) == [COMPLETED] * len(SIZES)
        assert ours.block.raw[:len(data)] == data
    finally:
        ours.close()
        theirs.close()


@case
def they_write_and_read_memory_of_our_names():
    ours, theirs = Engine(LENGTH), Theirs(PYTHON)
    try:
        local = theirs("memory", LENGTH)
        theirs("fill", local, 2, LENGTH)
        assert theirs("write_notify", ours.name, local, ours.address, LENGTH, "them", "done") == 0
        assert until(ours.notifies) == [["them", "done"]]
        assert ours.block.raw == pattern(2, LENGTH)
        ctypes.memmove(ours.address, pattern(3, LENGTH), LENGTH)
        assert theirs("read", ours.name, local, ours.address, LENGTH) == 0
        assert theirs("holds", local, 3, LENGTH)
        assert theirs("first", ours.name) == ours.address
    finally:
        ours.close()
        theirs.close()


@case
def notifications_go_both_ways():
    ours, theirs = Engine(4096), Theirs(PYTHON)
    try:
        target = lib.openSegment(ours.engine, theirs.name.encode())
        assert lib.genNotifyInEngine(ours.engine, target, Message(b"agent", b"aGVsbG8=")) == 0
        assert until(lambda: theirs("notifies")) == [["agent", "aGVsbG8="]]
    finally:
        ours.close()
        theirs.close()


@case
def a_peer_of_theirs_that_is_killed_is_failed_and_another_is_reached():
    ours, theirs = Engine(4096), Theirs(PYTHON)
    remote = theirs("memory", 4096)
    assert ours.submit(READ, theirs.name, remote, [4096]) == [COMPLETED]
    theirs.kill()
    try:
        assert ours.submit(READ, theirs.name, remote, [4096]) == [FAILED]
        theirs = Theirs(PYTHON)
        remote = theirs("memory", 4096)
        assert ours.submit(READ, theirs.name, remote, [4096]) == [COMPLETED]
    finally:
        ours.close()
        theirs.close()


if __name__ == "__main__":
    main()
