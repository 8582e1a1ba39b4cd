"""Real transfers between Mooncake's engine and ours, in both directions; every byte is looked at."""

import ours
from suite import case, main
from theirs import Theirs

SIZES = [1, 7, 64, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, (1 << 20) + 3, 16 << 20, 256 << 20]


def both(age, length, metadata="P2PHANDSHAKE", name=None):
    """An engine of each kind with memory of that length."""
    peer = Theirs(ours.wheel(age), metadata, name="127.0.0.1" if name is None else name + "-theirs")
    engine = ours.Engine(metadata=metadata, name=None if name is None else name + "-ours")
    return peer, engine, peer("memory", length), engine.memory(length)


def ours_reaches_theirs(age):
    peer, engine, there, here = both(age, 256 << 20)
    segment = engine.open(peer.name)
    assert engine.regions(segment) == 1
    for seed, size in enumerate(SIZES):
        offset = 0 if size == 256 << 20 else 3 * seed + 1
        here.view[offset:offset + size] = ours.pattern(seed, size)
        engine.transfer(segment, ours.WRITE, [(here.address + offset, there + offset, size)])
        assert peer("holds", there, seed, size, offset), size
        here.view[offset:offset + size] = bytes(size)
        engine.transfer(segment, ours.READ, [(here.address + offset, there + offset, size)])
        assert here.view[offset:offset + size] == ours.pattern(seed, size), size
    peer.close()
    engine.close()


def theirs_reaches_ours(age):
    peer, engine, there, here = both(age, 256 << 20)
    for seed, size in enumerate(SIZES):
        offset = 0 if size == 256 << 20 else 3 * seed + 1
        peer("fill", there, seed, size, offset)
        assert peer("write", engine.address, there + offset, here.address + offset, size) == 0, size
        # Mooncake's first protocol has no acknowledgement: a read after it is answered after it.
        assert peer("read", engine.address, there, here.address, 1) == 0
        settle(lambda: here.view[offset:offset + size] == ours.pattern(seed, size), size)
        peer("fill", there, seed + 1000, size, offset)
        assert peer("read", engine.address, there + offset, here.address + offset, size) == 0, size
        assert peer("holds", there, seed, size, offset), size
    peer.close()
    engine.close()


def settle(is_so, what):
    import time
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until, what
        time.sleep(0.01)


@case
def ours_reads_and_writes_the_new_one():
    ours_reaches_theirs("new")


@case
def ours_reads_and_writes_the_old_one():
    ours_reaches_theirs("old")


@case
def the_new_one_reads_and_writes_ours():
    theirs_reaches_ours("new")


@case
def the_old_one_reads_and_writes_ours():
    theirs_reaches_ours("old")


@case
def a_batch_of_a_thousand_entries_each_way():
    peer, engine, there, here = both("new", 8 << 20)
    count, size = 1000, 5001
    here.view[:count * size] = ours.pattern(5, count * size)
    segment = engine.open(peer.name)
    pieces = [(here.address + at * size, there + at * size, size) for at in range(count)]
    engine.transfer(segment, ours.WRITE, pieces)
    assert peer("holds", there, 5, count * size)
    here.view[:] = bytes(8 << 20)
    engine.transfer(segment, ours.READ, list(reversed(pieces)))
    assert here.view[:count * size] == ours.pattern(5, count * size)

    locals_ = [there + at * size for at in range(count)]
    remotes = [here.address + at * size for at in range(count)]
    for number, call in enumerate(["batch", "batch_async"]):
        kinds = ("sync_write", "sync_read") if call == "batch" else ("write", "read")
        peer("fill", there, 60 + number, count * size)
        assert peer(call, engine.address, kinds[0], locals_, remotes, [size] * count) == 0
        assert here.view[:count * size] == ours.pattern(60 + number, count * size)
        peer("fill", there, 70 + number, count * size)
        assert peer(call, engine.address, kinds[1], locals_, remotes, [size] * count) == 0
        assert peer("holds", there, 60 + number, count * size)
    peer.close()
    engine.close()


@case
def eight_threads_at_once_each_way():
    import threading
    peer, engine, there, here = both("new", 64 << 20)
    segment = engine.open(peer.name)
    share = (64 << 20) // 8
    here.view[:] = ours.pattern(9, 64 << 20)
    failures = []

    def work(number):
        try:
            for at in range(0, share, share // 16):
                base = number * share + at
                engine.transfer(segment, ours.WRITE, [(here.address + base, there + base, share // 16)])
                engine.transfer(segment, ours.READ, [(here.address + base, there + base, share // 16)])
        except ours.Failed as error:
            failures.append(error)
    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures
    assert peer("holds", there, 9, 64 << 20) and here.view[:] == ours.pattern(9, 64 << 20)

    peer("fill", there, 10, 64 << 20)
    plan = [[(there + n * share + at, here.address + n * share + at, 50001) for at in range(0, share - 50001, 50001)]
            for n in range(8)]
    assert peer("threads", engine.address, "write", plan) == 0
    whole = ours.pattern(10, 64 << 20)
    for local, remote, length in (piece for pieces in plan for piece in pieces):
        at = remote - here.address
        assert here.view[at:at + length] == whole[at:at + length]
    peer.close()
    engine.close()


if __name__ == "__main__":
    main()
