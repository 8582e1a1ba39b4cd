"""Names in a metadata service that Mooncake's engines and ours share: http and etcd, the ones that its wheel can reach."""

import ours
from services import Etcd, MooncakesHttp
from suite import case, main
from theirs import Theirs

# Without it the wheel tells the address of some interface.
LOOPBACK = {"MC_TCP_BIND_ADDRESS": "127.0.0.1"}


def both_ways(url, cluster=None):
    env = dict(LOOPBACK, **({"MC_METADATA_CLUSTER_ID": cluster} if cluster else {}))
    size = 1 << 20
    for age in ("new", "old"):
        peer = Theirs(ours.wheel(age), url, name="their-node-" + age, env=env)
        engine = ours.Engine(metadata=url, name="our-node-" + age, cluster=cluster)
        there, here = peer("memory", size), engine.memory(size)
        peer("fill", there, 1, size)
        assert peer("write", "our-node-" + age, there, here.address, size) == 0
        assert peer("read", "our-node-" + age, there, here.address, size) == 0
        assert here.view[:] == ours.pattern(1, size)
        segment = engine.open("their-node-" + age)
        here.view[:] = ours.pattern(2, size)
        engine.transfer(segment, ours.WRITE, [(here.address, there, size)])
        assert peer("holds", there, 2, size)
        # What is registered later is known as well, on both sides.
        more, beyond = peer("memory", 4096), engine.memory(4096)
        beyond.view[:] = ours.pattern(3, 4096)
        engine.transfer(segment, ours.WRITE, [(beyond.address, more, 4096)])
        assert peer("holds", more, 3, 4096)
        engine.notify(segment, "name", b"text")
        assert peer("notifies") == [["name", "text"]]
        other = ours.Engine(metadata=url, name="our-other-" + age, cluster=cluster)
        memory = other.memory(4096)
        other.transfer(other.open("our-node-" + age), ours.READ, [(memory.address, beyond.address, 4096)])
        assert memory.view[:] == ours.pattern(3, 4096)
        other.close()
        engine.close()
        try:
            fresh = ours.Engine(metadata=url, name="our-late-" + age, cluster=cluster)
            fresh.open("our-node-" + age, 5000)
            raise AssertionError("an engine that was destroyed is still published")
        except ours.Failed as error:
            assert error.name == "NOT_FOUND", error
        fresh.close()
        peer.close()


@case
def over_mooncakes_own_http_server():
    with MooncakesHttp(ours.wheel("new")) as service:
        both_ways(service.url)
        assert service.keys_of(["our-node-new", "our-node-old"]) == []


@case
def over_etcd_and_in_a_cluster_with_a_name():
    with Etcd() as service:
        both_ways(service.url)
        both_ways(service.url, "blue")


if __name__ == "__main__":
    main()
