"""`mooncake conductor` as a test runs it, and what it is asked."""

import http.client
import json
import os
import signal
import subprocess

from publisher import BLOCK_SIZE, wait

MODEL = "m"


class Conductor:
    def __init__(self, *arguments):
        self.arguments = arguments
        self.start()

    def start(self):
        command = [os.environ["MOONCAKE"], "conductor", "--listen", "127.0.0.1:0", *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.told = []
        for line in self.process.stdout:
            self.told.append(line.strip())
            if line.startswith("conductor listening on http://"):
                break
        else:
            raise RuntimeError("the conductor ended at once")
        self.connection = http.client.HTTPConnection(self.told[-1].split("//")[1].rstrip("/"), timeout=60)

    def end(self):
        self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.read()
        assert self.process.wait(timeout=60) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, method, path, body=None):
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.connection.request(method, path, body and json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise RuntimeError("%s %s: %d %s" % (method, path, answer.status, text))
        return json.loads(text) if text.startswith("{") else text

    def register(self, publisher, instance="a", rank=0, with_replay=True, kind="vLLM", profile=None):
        profile = profile or {"strategy": "vllm_v1", "algorithm": "sha256", "python_hash_seed": "0"}
        body = {
            "endpoint": publisher.endpoint, "type": kind, "modelname": MODEL, "instance_id": instance,
            "block_size": BLOCK_SIZE, "dp_rank": rank, "hash_profile": profile,
        }  # fmt: skip
        if with_replay:
            body["replay_endpoint"] = publisher.replay_endpoint
        self.ask("POST", "/register", body)
        assert publisher.stay(lambda: self.status(publisher)["connected"])
        # It is connected before it has subscribed, and a publisher that is asked first answers first.
        publisher.settle_in(self)

    def services(self):
        return self.ask("GET", "/services")["services"]

    def status(self, publisher):
        return next(one["Status"] for one in self.services() if one["Endpoint"] == publisher.endpoint)

    def reached(self, publisher):
        """The number of the message that is to come next."""
        last = self.status(publisher)["last_sequence"]
        return 0 if last is None else last + 1

    def query(self, hashes, instance="a"):
        body = {"model": MODEL, "block_size": BLOCK_SIZE, "seq_hashes": hashes}
        return self.ask("POST", "/query_by_hash", body)["default"].get(instance)

    def held(self, chain, tier, instance="a"):
        """Which of the blocks are held, asked for a run at a time."""
        at, held = 0, set()
        while at < len(chain):
            run = self.query(chain[at:], instance)[tier] // BLOCK_SIZE
            held.update(chain[at : at + run])
            at += run + 1
        return held

    def blocks(self):
        return sum(context["prefix_count"] for context in self.ask("GET", "/global_view")["contexts"])


def check(conductor, publisher, instance="a", may_lack=False, chains=1500):
    """Each block of the last chains, and the count of all."""
    device, either = publisher.truth["GPU"], publisher.truth["GPU"] | publisher.truth["CPU"]
    lacking = 0
    for chain in publisher.chains[-chains:]:
        for tier, truth in (("GPU", device), ("CPU", either)):
            held, wanted = conductor.held(chain, tier, instance), truth & set(chain)
            assert held <= wanted, "%s has %d blocks that are gone" % (tier, len(held - wanted))
            lacking += len(wanted - held)
    if may_lack:
        return lacking
    assert lacking == 0, "%d blocks are missing" % lacking
    assert wait(lambda: conductor.blocks() == len(either)), (conductor.blocks(), len(either))
    return 0
