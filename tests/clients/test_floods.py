"""Guests who take all they can get: the node keeps its memory, its descriptors and its other callers.

Each flood is bounded in count and time. What a node may grow by is 64 MiB, whatever the flood."""

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
import unittest

import grpc

from callers import CallerCase
from frames import dial
from node import eventually

MIB = 1 << 20
MOST = 64 * MIB
CGROUP = "/sys/fs/cgroup/memory"


def resident(node):
    """Bytes of memory that the process has now."""
    with open(f"/proc/{node.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


class Floods(CallerCase):
    def setUp(self):
        super().setUp()
        self.good = self.token("good", "plane")

    @contextlib.contextmanager
    def bounded(self, node):
        """Nothing that happens inside makes the node grow much, or keeps its descriptors."""
        plane = self.plane(node, self.good, **self.trust)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        before, open_before = resident(node), descriptors(node)
        yield plane
        self.assertLess(resident(node) - before, MOST)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        eventually(lambda: descriptors(node) <= open_before + 4, "descriptors return", 30)

    trust = {}

    def flooded(self, node, guest, guests, seconds):
        """So many guests at once, each again and again."""
        until = time.monotonic() + seconds
        failed = []

        def run():
            while time.monotonic() < until:
                try:
                    guest(node)
                except (OSError, grpc.RpcError):
                    pass
                except Exception as error:  # noqa: BLE001
                    failed.append(error)
                    return

        threads = [threading.Thread(target=run) for _ in range(guests)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])

    def flooded_meanwhile(self, node, guest, guests):
        """The same for a while in which somebody else is answered."""
        with self.bounded(node) as plane:
            flood = threading.Thread(target=self.flooded, args=(node, guest, guests, 3))
            flood.start()
            while flood.is_alive():
                self.assertTrue(plane.gate.Acquire(org="acme").allowed)
                time.sleep(0.01)
            flood.join()

    def bad_token(self, node):
        with grpc.insecure_channel(node.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            acquire = channel.unary_unary("/tollgate.v1.GateService/Acquire")
            for number in range(200):
                with contextlib.suppress(grpc.RpcError):
                    acquire(b"\x0a\x04acme" * 1000, metadata=[("authorization", f"Bearer tg_{number:016x}_{number}")], timeout=5)

    @staticmethod
    def silent(node):
        with contextlib.ExitStack() as peers:
            for _ in range(300):
                peers.enter_context(dial(node.grpc)).send(b"P")
            time.sleep(0.2)

    def malformed(self, node):
        with grpc.insecure_channel(node.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stream = channel.stream_stream("/tollgate.v1.GateService/AcquireStream")
            metadata = [("authorization", f"Bearer {self.good}")]
            calls = [stream(iter([b"\x0a" * 60_000] * 20), metadata=metadata, timeout=2) for _ in range(20)]
            for call in calls:
                call.cancel()


class Guests(Floods):
    def test_bad_tokens(self):
        node = self.guarded()
        self.flooded_meanwhile(node, self.bad_token, 4)
        self.assertLess(len(node.log), 100, "one line each would fill the disk")

    def test_connections_that_say_nothing(self):
        node = self.guarded(environment={"TOLLGATE__BOUNDS__CONNECTIONS_PER_ADDRESS": "200"})

        with self.bounded(node):
            self.flooded(node, self.silent, 2, 3)

    def test_unanswered_resets(self):
        node = self.guarded()

        def reset(node):
            peer = dial(node.grpc)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            peer.close()

        with self.bounded(node):
            self.flooded(node, reset, 4, 3)

    def test_streams_of_messages_that_are_none(self):
        node = self.guarded()
        self.flooded_meanwhile(node, self.malformed, 2)


class HalfHandshakes(Floods):
    def setUp(self):
        super().setUp()
        made = self.any_node().run("cert", "dev", os.path.join(self.dir, "tls"))
        self.assertEqual(made.returncode, 0, made.stderr)
        with open(f"{self.dir}/tls/ca.pem", "rb") as ca:
            self.trust = {"ca": ca.read()}

    def test_half_handshakes(self):
        tls = f'[tls]\ncert = "{self.dir}/tls/cert.pem"\nkey = "{self.dir}/tls/key.pem"\n'
        node = self.guarded(config=tls, environment={"TOLLGATE__BOUNDS__REQUEST_MS": "1000"})
        context = ssl._create_unverified_context()

        def half(node):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            shaking = context.wrap_bio(incoming, outgoing)
            with contextlib.suppress(ssl.SSLWantReadError):
                shaking.do_handshake()
            hello = outgoing.read()
            with contextlib.ExitStack() as peers:
                for _ in range(100):
                    peers.enter_context(dial(node.grpc)).sendall(hello)
                time.sleep(0.1)

        with self.bounded(node):
            self.flooded(node, half, 2, 3)


class Small(Floods):
    def test_a_node_in_512_mib_survives_all_of_them(self):
        group = f"{CGROUP}/tollgate-floods-{os.getpid()}"
        try:
            os.mkdir(group)
            self.addCleanup(self.removed, group)
            for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]:
                with contextlib.suppress(FileNotFoundError), open(f"{group}/{file}", "w", encoding="ascii") as limit:
                    limit.write(str(512 * MIB))
        except OSError as error:
            self.skipTest(f"no control group of memory can be made here: {error}")
        node = self.guarded()
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as members:
            members.write(str(node.process.pid))
        plane = self.plane(node, self.good)
        # Known before the floods: a new one may be one too many for this minute.
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)

        def new_orgs(node):
            for number in range(100):
                plane.gate.Acquire(org=f"org-{threading.get_ident()}-{time.monotonic_ns()}-{number}")

        guests = [self.bad_token, self.malformed, new_orgs, self.silent]
        floods = [threading.Thread(target=self.flooded, args=(node, guest, 2, 6)) for guest in guests]
        for flood in floods:
            flood.start()
        for flood in floods:
            flood.join()
        self.assertIsNone(node.process.poll(), "it lives")
        eventually(lambda: plane.gate.Acquire(org="acme").allowed, "and answers", 20)
        self.assertLess(resident(node), 512 * MIB)

    @staticmethod
    def removed(group):
        for _ in range(100):
            try:
                os.rmdir(group)
                return
            except OSError:
                time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
