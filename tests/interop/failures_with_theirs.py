"""Peers that vanish, restart, hang and lie: every transfer ends in time and says why, and the next one finds its peer."""

import json
import signal
import socket
import struct
import threading
import time

import ours
from services import MooncakesHttp
from suite import case, main
from theirs import Theirs


def ends(engine, segment, opcode, pieces, within=15, deadline_ms=10000):
    """The name of the status with which a transfer ends, and it does in time."""
    begun = time.monotonic()
    try:
        engine.transfer(segment, opcode, pieces, deadline_ms)
        name = "OK"
    except ours.Failed as error:
        name = error.name
    assert time.monotonic() - begun < within, "%s took %.1f s" % (name, time.monotonic() - begun)
    return name


def until_ok(engine, segment, opcode, pieces):
    until = time.monotonic() + 30
    while ends(engine, segment, opcode, pieces) != "OK":
        assert time.monotonic() < until, "it does not recover"
        time.sleep(0.05)


class Liar:
    """A server that says it is an engine of Mooncake's, and treats each data connection as it is told."""

    def __init__(self, treat, segment=None):
        self.data, self.rpc = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
        self.name = "127.0.0.1:%d" % self.rpc.getsockname()[1]
        self.treat, self.kept = treat, []
        self.segment = segment or {
            "name": self.name, "protocol": "tcp", "tcp_data_port": self.data.getsockname()[1],
            "tcp_proto_version": 2, "buffers": [{"name": self.name, "addr": 1 << 32, "length": 1 << 30}]}
        for accept, handle in ((self.rpc, self.answer), (self.data, self.serve)):
            threading.Thread(target=self.loop, args=(accept, handle), daemon=True).start()

    def loop(self, listener, handle):
        while True:
            try:
                there, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(there,), daemon=True).start()

    def answer(self, there):
        there.recv(65536)
        text = self.segment if isinstance(self.segment, bytes) else json.dumps(self.segment).encode()
        there.sendall(struct.pack("<Q", 1 + len(text)) + b"\1" + text)
        there.close()

    def serve(self, there):
        try:
            self.treat(there, struct.unpack("<QQB7x", there.recv(24, socket.MSG_WAITALL)))
        except OSError:
            pass
        self.kept.append(there)

    def close(self):
        self.rpc.close()
        self.data.close()
        for there in self.kept:
            there.close()


# Without it the wheel tells the address of some interface.
LOOPBACK = {"MC_TCP_BIND_ADDRESS": "127.0.0.1"}
DONE = b"\0\0\0\0VTCM"


@case
def a_peer_that_is_killed_in_the_middle_ends_the_transfer_with_its_name():
    peer, engine = Theirs(ours.wheel("new")), ours.Engine(keepalive_ms=1000)
    size = 256 << 20
    there, here = peer("memory", size), engine.memory(size)
    segment = engine.open(peer.name)
    for opcode in (ours.WRITE, ours.READ):
        batch = engine.submit(segment, opcode, [(here.address, there, size)] * 8, 10000)
        time.sleep(0.05)
        if opcode == ours.READ:
            peer.kill()
            begun = time.monotonic()
            try:
                engine.wait(batch)
                raise AssertionError("a dead peer was read")
            except ours.Failed as error:
                assert error.name in ("UNREACHABLE", "CONNECTION_LOST", "PEER_RESTARTED"), error
                assert peer.name in str(error), error
            assert time.monotonic() - begun < 15
        else:
            engine.wait(batch)
    assert ends(engine, segment, ours.READ, [(here.address, there, 4096)]) in ("UNREACHABLE", "CONNECTION_LOST")
    engine.close()


@case
def a_peer_that_restarts_under_its_name_is_found_again():
    with MooncakesHttp(ours.wheel("new")) as http:
        engine = ours.Engine(metadata=http.url, name="ours-node")
        here = engine.memory(1 << 20)
        peer = Theirs(ours.wheel("new"), http.url, name="their-node", env=LOOPBACK)
        there = peer("memory", 1 << 20)
        segment = engine.open(peer.name)
        engine.transfer(segment, ours.WRITE, [(here.address, there, 1 << 20)])
        peer.kill()
        http.forget(peer.name)
        assert ends(engine, segment, ours.READ, [(here.address, there, 4096)]) != "OK"
        peer = Theirs(ours.wheel("new"), http.url, name="their-node", env=LOOPBACK)
        there = peer("memory", 1 << 20)
        peer("fill", there, 8, 1 << 20)
        until_ok(engine, segment, ours.READ, [(here.address, there, 1 << 20)])
        assert here.view[:] == ours.pattern(8, 1 << 20)
        peer.close()
        engine.close()


@case
def ours_restarts_and_theirs_finds_it_again():
    # It keeps what it knew of a peer for ever, unless it is told not to.
    env = dict(LOOPBACK, MC_DISABLE_METACACHE="1")
    with MooncakesHttp(ours.wheel("new")) as http:
        peer = Theirs(ours.wheel("new"), http.url, name="their-node", env=env)
        there = peer("memory", 4096)
        for life in range(2):
            engine = ours.Engine(metadata=http.url, name="ours-again")
            here = engine.memory(4096)
            peer("fill", there, life, 4096)
            until = time.monotonic() + 30
            while peer("write", "ours-again", there, here.address, 4096) != 0:
                assert time.monotonic() < until, "it does not recover"
            assert here.view[:] == ours.pattern(life, 4096)
            engine.close()
            assert peer("write", "ours-again", there, here.address, 4096) != 0
        peer.close()


@case
def a_peer_that_is_stopped_is_given_up_and_taken_back():
    peer, engine = Theirs(ours.wheel("new")), ours.Engine(keepalive_ms=500)
    there, here = peer("memory", 4096), engine.memory(4096)
    segment = engine.open(peer.name)
    engine.transfer(segment, ours.WRITE, [(here.address, there, 4096)])
    peer.stop()
    name = ends(engine, segment, ours.WRITE, [(here.address, there, 4096)], deadline_ms=8000)
    assert name == "UNREACHABLE", name
    peer.process.send_signal(signal.SIGCONT)
    until_ok(engine, segment, ours.WRITE, [(here.address, there, 4096)])
    peer.close()
    engine.close()


@case
def lies_end_in_time_and_touch_nothing_afterwards():
    def hangs(there, header):
        time.sleep(30)

    def closes(there, header):
        there.close()

    def speaks_nonsense(there, header):
        there.sendall(b"nonsense" * 100)

    def answers_too_little(there, header):
        there.sendall(DONE + b"x" * (header[0] // 2))
        there.close()

    def answers_too_much(there, header):
        there.sendall(DONE + b"x" * header[0] + b"more than was asked for")

    def refuses(there, header):
        there.sendall(b"\1\0\0\0VTCM")
        there.close()

    expected = {
        hangs: {"TIMEOUT", "UNREACHABLE"}, closes: {"CONNECTION_LOST", "UNREACHABLE"},
        speaks_nonsense: {"CONNECTION_LOST", "REJECTED"}, answers_too_little: {"CONNECTION_LOST", "UNREACHABLE"},
        answers_too_much: {"OK", "CONNECTION_LOST"}, refuses: {"ADDRESS_NOT_REGISTERED"}}
    engine = ours.Engine(keepalive_ms=1000)
    for treat, names in expected.items():
        liar, here = Liar(treat), engine.memory(1 << 20)
        segment = engine.open(liar.name)
        for opcode in (ours.READ, ours.WRITE):
            if opcode == ours.WRITE and treat in (answers_too_little, answers_too_much):
                continue
            name = ends(engine, segment, opcode, [(here.address, 1 << 32, 1 << 20)], deadline_ms=2000)
            assert name in names, (treat.__name__, opcode, name)
        after = bytes(here.view[:])
        time.sleep(0.2)
        assert here.view[:] == after, treat.__name__
        here.unregister()
        liar.close()
    engine.close()


@case
def descriptors_that_cannot_be_true_are_refused_with_their_reason():
    engine = ours.Engine(keepalive_ms=1000)
    base = {"name": "x", "protocol": "tcp", "tcp_data_port": 9, "buffers": []}
    for segment, status, reason in (
            (b"null", "NOT_FOUND", "nothing to tell"), (b"[]", "REJECTED", "no JSON object"),
            (b"{" * 5000, "REJECTED", "no JSON"), (b"\xff\xfe", "REJECTED", "no JSON"),
            (dict(base, tcp_data_port=70000), "REJECTED", "tcp_data_port"),
            (dict(base, buffers=[{"name": "x", "addr": 2**64 - 1, "length": 9}]), "REJECTED", "impossible"),
            (dict(base, protocol="rdma"), "UNSUPPORTED", "rdma")):
        liar = Liar(lambda there, header: None, segment)
        try:
            engine.open(liar.name, 5000)
            raise AssertionError("%r was believed" % (segment,))
        except ours.Failed as error:
            assert error.name == status and reason in str(error), error
        liar.close()
    engine.close()


if __name__ == "__main__":
    main()
