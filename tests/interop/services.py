"""Metadata services on ports that the kernel gives, ended by their process."""

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, process):
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the service ended with %s" % process.returncode
            assert time.monotonic() < until, "the service does not listen"
            time.sleep(0.05)


class Program:
    """A service that is a program; with-statements end it."""

    def start(self, command, port):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(port, self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Etcd(Program):
    def __init__(self):
        self.folder, port, peers = tempfile.mkdtemp(), free_port(), free_port()
        urls = ["http://127.0.0.1:%d" % one for one in (port, peers)]
        self.start(["etcd", "--data-dir", self.folder, "--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
                    "--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1],
                    "--initial-cluster", "default=" + urls[1]], port)
        self.url = "etcd://127.0.0.1:%d" % port

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)


class MooncakesHttp(Program):
    """Mooncake's own, from its wheel."""

    def __init__(self, python):
        port = free_port()
        self.start([python, "-m", "mooncake.http_metadata_server", "--host", "127.0.0.1", "--port", str(port)], port)
        self.url = "http://127.0.0.1:%d/metadata" % port

    def keys_of(self, names):
        """Which of the keys of engines with these names are there."""
        keys = ["mooncake/%s/%s" % (kind, name) for name in names for kind in ("rpc_meta", "ram")]
        return [key for key in keys if self.ask("GET", key) == 200]

    def forget(self, name):
        """What the one that crashed left; the server refuses a second one of its name otherwise."""
        assert self.ask("DELETE", "mooncake/rpc_meta/" + name) == 200

    def ask(self, method, key):
        request = urllib.request.Request(self.url + "?key=" + urllib.parse.quote(key, safe=""), method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
