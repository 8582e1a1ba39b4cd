"""Conductors that follow publishers over pyzmq: what they know at the end is what is true."""

import os
import sys
import tempfile

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["ROOT"], "tests", "interop")]

import msgpack  # noqa: E402
from conductor import MODEL, Conductor, check  # noqa: E402
from publisher import BLOCK_SIZE, InBackground, Publisher  # noqa: E402
from suite import case, main  # noqa: E402

COUNT = int(os.environ.get("EVENTS", "100000"))


@case
def dropped_messages_are_replayed_at_20000_events_a_second():
    publisher = Publisher(drop_every=50)
    with Conductor() as conductor:
        conductor.register(publisher)
        rate = publisher.publish(COUNT)
        publisher.settle([conductor])
        status = conductor.status(publisher)
        print("%d events at %.0f a second, %d messages dropped, %d gaps, %d replays" % (
            publisher.events, rate, publisher.dropped, status["gaps"], status["replays"],
        ))  # fmt: skip
        assert publisher.dropped > 100 and status["gaps"] > 0, status
        assert status["events"] == publisher.events, status
        assert status["resyncs"] == 0 and status["skipped_events"] == 0 and status["malformed_messages"] == 0, status
        check(conductor, publisher)
        # In the words of Prometheus, too.
        line = 'mooncake_conductor_publisher_events_total{instance="a",tenant="default",rank="0"} %d'
        assert line % publisher.events in conductor.ask("GET", "/metrics")
    publisher.close()


@case
def two_conductors_follow_two_publishers_side_by_side():
    """One of them tells hashes as bytes, in maps."""
    publishers = [Publisher(drop_every=70), Publisher(drop_every=30, form="map")]
    with Conductor() as one, Conductor() as other:
        for conductor in (one, other):
            for publisher, instance in zip(publishers, "ab"):
                conductor.register(publisher, instance)
        publishers[1].random.seed(11)
        publishing = [InBackground(publisher, COUNT // 5) for publisher in publishers]
        for thread in publishing:
            thread.join()
        for publisher in publishers:
            publisher.settle([one, other])
        for conductor in (one, other):
            for publisher, instance in zip(publishers, "ab"):
                status = conductor.status(publisher)
                assert (status["events"], status["resyncs"]) == (publisher.events, 0), status
                # Blocks of both are counted together.
                assert check(conductor, publisher, instance, may_lack=True, chains=1000) == 0
        assert one.blocks() == other.blocks()
    for publisher in publishers:
        publisher.close()


@case
def without_a_replay_nothing_is_claimed_that_is_not_so():
    publisher = Publisher()
    with Conductor() as conductor:
        conductor.register(publisher, with_replay=False)
        publisher.drop_every = 500
        publisher.publish(COUNT // 10)
        publisher.settle([conductor])
        status = conductor.status(publisher)
        assert status["resyncs"] == status["gaps"] > 0, status
        lacking = check(conductor, publisher, may_lack=True)
        print("%d resyncs, %d of the last blocks are not known" % (status["resyncs"], lacking))
    publisher.close()


@case
def a_gap_longer_than_what_is_kept_is_a_new_beginning():
    publisher = Publisher(keeps=20)
    with Conductor() as conductor:
        conductor.register(publisher)
        publisher.publish(2000)
        for _ in range(30):
            publisher.send([publisher.event()], lose=True)
        publisher.publish(2000)
        publisher.settle([conductor])
        status = conductor.status(publisher)
        assert status["resyncs"] == 1, status
        check(conductor, publisher, may_lack=True)
    publisher.close()


@case
def a_publisher_that_is_restarted_begins_with_nothing():
    for with_replay in (True, False):
        first = Publisher()
        with Conductor() as conductor:
            conductor.register(first, with_replay=with_replay)
            first.publish(2000)
            first.settle([conductor])
            first.close()
            second = Publisher(ports=first.ports())
            second.random.seed(3)
            assert second.stay(lambda: conductor.status(second)["connections"] == 2)
            second.settle_in(conductor)
            second.publish(2000)
            second.settle([conductor])
            second.chains += first.chains[-500:]
            check(conductor, second, may_lack=not with_replay)
            # What was told before the subscription came is had by a replay only.
            assert conductor.status(second)["resyncs"] == 1
            second.close()


@case
def a_conductor_that_is_restarted_goes_on_from_its_snapshot():
    with tempfile.TemporaryDirectory() as folder:
        publisher = Publisher(drop_every=50)
        with Conductor("--snapshot", os.path.join(folder, "state")) as conductor:
            conductor.register(publisher)
            publisher.publish(COUNT // 10)
            publisher.settle([conductor])
            conductor.end()
            # Less than is kept for a replay.
            publisher.drop_every = 50
            publisher.publish(COUNT // 10)
            conductor.start()
            assert conductor.told[0].startswith("restored "), conductor.told
            publisher.settle([conductor])
            assert conductor.status(publisher)["resyncs"] == 0
            check(conductor, publisher)
            conductor.end()
            # It cannot be used any more: it is put aside, and nothing is known.
            with open(os.path.join(folder, "state"), "r+b") as state:
                state.seek(100)
                state.write(b"\0\0\0\0")
            conductor.start()
            assert conductor.services() == [] and conductor.blocks() == 0
            assert any(name.startswith("state.damaged-") for name in os.listdir(folder))
        publisher.close()


@case
def what_the_store_has_is_in_reach_of_all_engines():
    engine, store = Publisher(), Publisher()
    with Conductor() as conductor:
        conductor.register(engine)
        profile = {"strategy": "vllm_v1", "algorithm": "sha256", "python_hash_seed": "0"}
        conductor.register(store, "store", kind="Mooncake", with_replay=False, profile=profile)
        chain = [11, 12, 13, 14]
        engine.send([engine.stored(chain[:2], None, "GPU")])

        def event(kind, key, rank, medium="cpu", **more):
            name = "org/m@tp_rank:%d@pcp0@dcp0@pp_rank:0@%064x" % (rank, key)
            common = {"event_id": 1, "timestamp": 1, "model_name": None, "tenant_id": "default", "backend_id": "node"}
            return dict(common, event_type=kind, medium=medium, object_key=name, seq_hashes=[], **more)

        store.send([event("stored", key, rank) for key in chain for rank in (0, 1)])
        store.send([event("stored", 13, 0, "disk"), event("removed", 14, 1)])
        store.settle([conductor])
        engine.settle([conductor])
        found = conductor.query(chain)
        assert (found["GPU"], found["STORE"], found["longest_matched"]) == (32, 48, 48), found
        # One of its two copies goes, then the other.
        store.send([event("removed", 13, 0)])
        store.settle([conductor])
        assert conductor.query(chain)["longest_matched"] == 48
        store.send([event("removed", 13, 0, "disk"), event("removed", 12, 0)])
        store.settle([conductor])
        assert conductor.query(chain)["longest_matched"] == 32
        assert conductor.query(chain, "store") is None
    for publisher in (engine, store):
        publisher.close()


@case
def names_that_an_engine_makes_up_are_told_by_their_tokens():
    publisher = Publisher()
    with Conductor() as conductor:
        conductor.register(publisher, profile={"strategy": "token_ids"})
        tokens = [7 * number for number in range(4 * BLOCK_SIZE)]

        def stored(names, parent, first):
            some = tokens[first * BLOCK_SIZE : (first + len(names)) * BLOCK_SIZE]
            return ["BlockStored", names, parent, some, BLOCK_SIZE, None, "GPU", None]

        def matched():
            body = {"model": MODEL, "block_size": BLOCK_SIZE, "token_ids": tokens + [1]}
            return conductor.ask("POST", "/query", body)["default"]["a"]["GPU"]

        publisher.send([stored([-5, 6], None, 0), stored([7], 6, 2), stored([9], 8, 3)])
        publisher.settle([conductor])
        # Nobody knows what comes before the last one.
        assert matched() == 3 * BLOCK_SIZE and conductor.status(publisher)["skipped_events"] == 1
        publisher.send([stored([8], 7, 3), publisher.removed([7], "GPU")])
        publisher.settle([conductor])
        assert matched() == 2 * BLOCK_SIZE
        publisher.send([stored([77], 6, 2)])
        publisher.settle([conductor])
        assert matched() == 4 * BLOCK_SIZE
        publisher.send([["AllBlocksCleared"]])
        publisher.settle([conductor])
        assert matched() == 0
    publisher.close()


@case
def bytes_that_are_no_events_do_no_harm():
    publisher = Publisher()
    with Conductor() as conductor:
        conductor.register(publisher)
        for junk in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff" * 100, msgpack.packb("text"), os.urandom(1000)):
            number, publisher.next = publisher.next, publisher.next + 1
            publisher.kept.append((number, junk))
            publisher.live.send_multipart((b"", number.to_bytes(8, "big"), junk))
        publisher.live.send_multipart((b"", b"short", b""))
        publisher.live.send_multipart((b"alone",))
        publisher.send([["BlockMoved", [1]], publisher.stored([1], None, "GPU")])
        publisher.settle([conductor])
        status = conductor.status(publisher)
        assert status["malformed_messages"] >= 6 and status["skipped_events"] >= 1, status
        assert conductor.query([1])["GPU"] == BLOCK_SIZE
    publisher.close()


if __name__ == "__main__":
    main()
