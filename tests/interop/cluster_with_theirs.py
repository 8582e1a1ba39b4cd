"""Old and new engines of Mooncake's and ours in one cluster: who meets whom how, notifications, probes, keys."""

import json
import socket
import struct

import ours
from suite import case, main
from theirs import Theirs


def handshake(address, kind, body, typed=True):
    """One question in Mooncake's words; the JSON of the answer, or None when it is closed without one."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as there:
        data = (bytes([kind]) if typed else b"") + body.encode()
        there.sendall(struct.pack("<Q", len(data)) + data)
        answer = b""
        try:
            while len(answer) < 8 or len(answer) < 8 + struct.unpack("<Q", answer[:8])[0]:
                some = there.recv(65536)
                if not some:
                    return None
                answer += some
        except ConnectionResetError:
            return None
    body = answer[8:]
    return json.loads(body[1:] if body[0] <= 3 else body)


@case
def notifications_go_both_ways():
    peer, engine = Theirs(ours.wheel("new")), ours.Engine()
    there, here = peer("memory", 4096), engine.memory(4096)
    segment = engine.open(peer.name)
    engine.notify(segment, "agent", "bytes & \u00e4\n".encode())
    assert peer("notifies") == [["agent", "bytes & \u00e4\n"]]
    try:
        engine.notify(segment, "agent", b"\xff\xfe")
        raise AssertionError("bytes that are no text were taken")
    except ours.Failed as error:
        assert error.name == "INVALID_ARGUMENT", error
    assert peer("write_notify", engine.address, there, here.address, 4096, "who", "what") == 0
    assert engine.receive() == ("who", b"what")
    peer.close()
    engine.close()


@case
def probes_go_both_ways():
    for age in ("new", "old"):
        peer, engine = Theirs(ours.wheel(age)), ours.Engine()
        segment = engine.open(peer.name)
        assert engine.probe(segment)
        if peer("has", "send_probe"):
            assert peer("probe", engine.address) == 0
        peer.kill()
        assert not engine.probe(segment)
        engine.close()


@case
def mooncake_ignores_the_extra_field_and_native_engines_meet_by_it():
    peer, one, other = Theirs(ours.wheel("new")), ours.Engine(), ours.Engine()
    there, here, memory = peer("memory", 8192), one.memory(8192), other.memory(8192)
    told = handshake(one.address, 1, "{}")
    assert told["mc_engine"]["addresses"] == [one.address] and told["protocol"] == "tcp", told
    assert told["buffers"] == [{"addr": here.address, "length": 8192, "name": one.address}], told
    assert peer("first", one.address) == here.address
    peer("fill", there, 3, 8192)
    assert peer("write", one.address, there, here.address, 8192) == 0
    other.transfer(other.open(one.address), ours.READ, [(memory.address, here.address, 8192)])
    assert memory.view[:] == ours.pattern(3, 8192)
    assert other.kind(other.open(one.address)) != other.kind(other.open(peer.name)), "both are met alike"
    for engine in (one, other):
        engine.close()
    peer.close()


@case
def an_old_and_a_new_wheel_and_ours_in_one_cluster():
    old, new, engine = Theirs(ours.wheel("old")), Theirs(ours.wheel("new")), ours.Engine()
    size = 1 << 20
    first, second, here = old("memory", size), new("memory", size), engine.memory(size)
    old("fill", first, 1, size)
    # Around: old -> ours -> new -> old.
    assert old("write", engine.address, first, here.address, size) == 0
    assert old("read", engine.address, first, here.address, size) == 0
    engine.transfer(engine.open(new.name), ours.WRITE, [(here.address, second, size)])
    assert new("holds", second, 1, size)
    new("fill", second, 2, size)
    assert new("write", old.name, second, first, size) == 0
    engine.transfer(engine.open(old.name), ours.READ, [(here.address, first, size)])
    assert here.view[:] == ours.pattern(2, size)
    old.close()
    new.close()
    engine.close()


@case
def an_engine_without_compat_is_met_by_one_with_it():
    plain, engine = ours.Engine(compat=ours.COMPAT_OFF), ours.Engine()
    there, here = plain.memory(4096), engine.memory(4096)
    there.view[:] = ours.pattern(4, 4096)
    engine.transfer(engine.open(plain.address), ours.READ, [(here.address, there.address, 4096)])
    assert here.view[:] == ours.pattern(4, 4096)
    assert handshake(plain.address, 1, "{}" + " " * 64) is None
    plain.close()
    engine.close()


@case
def with_a_key_mooncakes_wire_is_refused_unless_it_is_allowed():
    key = "0123456789abcdef"
    strict, open_ = ours.Engine(psk=key), ours.Engine(psk=key, compat=ours.COMPAT_ALLOW)
    # As long as a native header is, so that it need not wait for more.
    assert handshake(strict.address, 1, "{}" + " " * 64) is None
    assert handshake(strict.address, 3, "{}" + " " * 64) is None
    assert handshake(open_.address, 3, "{}") == {"status": "success"}
    strict.close()
    open_.close()


@case
def the_daemon_answers_what_mooncakes_does_and_survives_the_rest():
    engine = ours.Engine()
    assert handshake(engine.address, 3, "{}") == {"status": "success"}
    assert handshake(engine.address, 0, "{}")["reply_msg"]
    assert handshake(engine.address, 0, "{}", typed=False)["reply_msg"]
    assert handshake(engine.address, 2, json.dumps({"name": "n", "notify_msg": "m"}))["notify_msg"] == "success"
    assert engine.receive() == ("n", b"m")
    for body in ("[]", "null", "{", "[" * 50000, '{"name": {}, "notify_msg": 3}', "\udcff".encode(errors="replace").decode()):
        assert handshake(engine.address, 2, body) is None, body[:40]
    host, port = engine.address.rsplit(":", 1)
    silent = [socket.create_connection((host, int(port))) for _ in range(100)]
    for one in silent[:50]:
        one.sendall(struct.pack("<Q", 1 << 19))
    assert handshake(engine.address, 3, "{}") == {"status": "success"}
    with socket.create_connection((host, int(port)), timeout=20) as web:
        web.sendall(b"GET / HTTP/1.1\r\n\r\n")
        web.recv(1 << 16)
    assert handshake(engine.address, 3, "{}") == {"status": "success"}
    for one in silent:
        one.close()
    engine.close()


@case
def ranges_are_checked_as_mooncake_checks_them():
    engine = ours.Engine()
    memory = engine.memory(4096)
    told = handshake(engine.address, 1, "{}")
    header = struct.Struct("<QQB7x")

    def ask(size, address, opcode, body=b"", take=8):
        with socket.create_connection(("127.0.0.1", told["tcp_data_port"]), timeout=20) as there:
            there.sendall(header.pack(size, address, opcode) + body)
            answer = b""
            try:
                while len(answer) < take:
                    some = there.recv(take - len(answer))
                    if not some:
                        break
                    answer += some
            except ConnectionResetError:
                pass
            return answer
    done, refused = b"\0\0\0\0VTCM", b"\1\0\0\0VTCM"
    at = memory.address
    assert ask(4096, at, 0x81, b"w" * 4096) == done and memory.view[:] == b"w" * 4096
    assert ask(16, at + 4080, 0x80, take=24) == done + b"w" * 16
    assert ask(16, at, 0x00, take=16) == b"w" * 16
    for size, address in ((0, at), (4097, at), (1, at - 1), (1, at + 4096), (2, at + 4095), (2**64 - 1, at), (16, 2**64 - 8)):
        assert ask(size, address, 0x80) == refused, (size, address)
        assert ask(size, address, 0x81, b"x" * 16) == refused, (size, address)
        assert ask(size, address, 0x00) == b"", (size, address)
    assert ask(16, at, 0x02) == b""
    assert memory.view[:] == b"w" * 4096
    memory.unregister()
    assert ask(16, at, 0x80) == refused
    engine.close()


if __name__ == "__main__":
    main()
