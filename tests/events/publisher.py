"""Publishers of events as vLLM and Mooncake's master have them, over pyzmq, that lose messages on purpose."""

import collections
import random
import threading
import time

import msgpack
import zmq

BLOCK_SIZE = 16
END = (-1).to_bytes(8, "big", signed=True)


class Publisher:
    """vLLM's: numbered batches, the last ones kept, and sent again to whoever asks between two batches."""

    def __init__(self, keeps=10_000, ports=(0, 0), drop_every=0, form="array"):
        self.context = zmq.Context()
        self.live = self.context.socket(zmq.PUB)
        self.live.set_hwm(100_000)
        self.replay = self.context.socket(zmq.ROUTER)
        self.endpoint, self.replay_endpoint = (
            self.bind(socket, port) for socket, port in zip((self.live, self.replay), ports)
        )
        self.kept = collections.deque(maxlen=keeps)
        self.drop_every, self.form = drop_every, form
        self.next, self.dropped, self.replays, self.events = 0, 0, 0, 0
        self.truth = {"GPU": set(), "CPU": set()}
        self.chains = []
        self.random = random.Random(7)

    @staticmethod
    def bind(socket, port):
        for _ in range(100):
            try:
                socket.bind("tcp://127.0.0.1:%s" % (port or "*"))
                return socket.getsockopt_string(zmq.LAST_ENDPOINT)
            except zmq.ZMQError:
                time.sleep(0.05)
        raise RuntimeError("port %d is not free" % port)

    def ports(self):
        return tuple(int(endpoint.rsplit(":", 1)[1]) for endpoint in (self.endpoint, self.replay_endpoint))

    def close(self):
        self.context.destroy(linger=0)

    def answer(self):
        while self.replay.poll(0):
            identity, _, start = self.replay.recv_multipart()
            self.replays += 1
            start = int.from_bytes(start, "big")
            for number, payload in self.kept:
                if number >= start:
                    self.replay.send_multipart((identity, b"", number.to_bytes(8, "big"), payload))
            self.replay.send_multipart((identity, b"", END, b""))

    def send(self, events, lose=False):
        payload = msgpack.packb([time.time(), events, None])
        self.events += len(events)
        number, self.next = self.next, self.next + 1
        lose = lose or (self.drop_every and number % self.drop_every == self.drop_every - 1)
        if lose:
            self.dropped += 1
        else:
            self.live.send_multipart((b"", number.to_bytes(8, "big"), payload))
        self.kept.append((number, payload))
        self.answer()

    # Events.

    def hash(self, value):
        # Either way it is the same key.
        return value if self.form == "array" else value.to_bytes(32, "big")

    def stored(self, hashes, parent, medium):
        hashes, parent = [self.hash(one) for one in hashes], parent and self.hash(parent)
        tokens = list(range(BLOCK_SIZE * len(hashes)))
        if self.form == "array":
            return ["BlockStored", hashes, parent, tokens, BLOCK_SIZE, None, medium, None, None, 0]
        return {
            "type": "BlockStored", "block_hashes": hashes, "parent_block_hash": parent, "token_ids": tokens,
            "block_size": BLOCK_SIZE, "lora_id": None, "medium": medium, "lora_name": None, "group_idx": 0,
        }  # fmt: skip

    def removed(self, hashes, medium):
        hashes = [self.hash(one) for one in hashes]
        if self.form == "array":
            return ["BlockRemoved", hashes, medium]
        return {"type": "BlockRemoved", "block_hashes": hashes, "medium": medium}

    def event(self):
        """What an engine could do next; the truth follows."""
        chance = self.random.random()
        if chance < 0.55 or not self.chains:
            chain = [self.random.getrandbits(64) for _ in range(self.random.randint(1, 8))]
            self.chains.append(chain)
            self.truth["GPU"].update(chain)
            return self.stored(chain, None, "GPU")
        chain = self.random.choice(self.chains[-2000:])
        if chance < 0.75:
            some = chain[self.random.randrange(len(chain)):]  # fmt: skip
            self.truth["GPU"].difference_update(some)
            return self.removed(some, "GPU")
        if chance < 0.9:
            self.truth["CPU"].update(chain)
            return self.stored(chain, None, "CPU")
        self.truth["CPU"].difference_update(chain)
        return self.removed(chain, "CPU")

    def publish(self, count, rate=20_000):
        """So many events, in batches of a few, at this rate by the second."""
        began, done = time.monotonic(), 0
        while done < count:
            batch = [self.event() for _ in range(self.random.randint(1, 4))]
            self.send(batch)
            done += len(batch)
            while done / rate > time.monotonic() - began:
                self.answer()
                time.sleep(0.001)
        return done / (time.monotonic() - began)

    def settle_in(self, conductor):
        """Messages until one arrives: the subscription may come later than the connection."""
        start = self.next

        def arrived():
            self.send([])
            return conductor.reached(self) > start

        assert self.stay(arrived)
        self.settle([conductor])

    def stay(self, until):
        """Answers until that is so, or for a minute."""
        return wait(until, self.answer)

    def settle(self, conductors):
        """One more message, which shows all that is missing, until it has arrived everywhere."""
        drop_every, self.drop_every = self.drop_every, 0
        self.send([])
        self.drop_every = drop_every
        target = self.next

        def arrived():
            return all(conductor.reached(self) >= target for conductor in conductors)

        assert self.stay(arrived), [conductor.services() for conductor in conductors]


def wait(until, meanwhile=lambda: None, seconds=60):
    end = time.monotonic() + seconds
    asked = 0.0
    while time.monotonic() < end:
        meanwhile()
        if time.monotonic() - asked > 0.05:
            if until():
                return True
            asked = time.monotonic()
        time.sleep(0.001)
    return False


class InBackground(threading.Thread):
    """A publisher that publishes in a thread of its own."""

    def __init__(self, publisher, count):
        super().__init__(daemon=True)
        self.publisher, self.count, self.rate = publisher, count, None
        self.start()

    def run(self):
        self.rate = self.publisher.publish(self.count)
