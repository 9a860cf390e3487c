"""R-AUTH-2: what a caller may take of the house before anything of it is decoded."""

import time
import unittest
import urllib.request

import grpc
from h2.settings import SettingCodes

from case import NodeCase, eventually, fresh
from frames import ACQUIRE, Caller, acquire, closes, dial, is_cut, message
from plane import refusal

# Of the tests: short, so that nobody waits for what takes its time in service.
SHORT = {
    "TOLLGATE__BOUNDS__REQUEST_MS": "500",
    "TOLLGATE__BOUNDS__ANSWER_MS": "500",
    "TOLLGATE__BOUNDS__CONNECTION_IDLE_MS": "1000",
}
# Far from the bounds above, and near for a test.
SOON = 5


def get(node, path, within=10):
    with urllib.request.urlopen(f"http://{node.http}{path}", timeout=within) as answer:
        return answer.status


def peak_bytes(node):
    """The most memory that the process had."""
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Bounded(NodeCase):
    def started(self, **bounds):
        environment = {**SHORT, **{f"TOLLGATE__BOUNDS__{name.upper()}": str(value) for name, value in bounds.items()}}
        return self.node(environment=environment)

    def caller(self, node, **how):
        caller = Caller(node.grpc, **how)
        self.addCleanup(caller.close)
        return caller

    def peer(self, address, said=b"", **how):
        peer = dial(address, **how)
        self.addCleanup(peer.close)
        if said:
            peer.sendall(said)
        return peer


class HttpPort(Bounded):
    def test_headers_that_do_not_end_are_cut(self):
        node = self.started()
        for said in [b"GET /livez HTTP/1.1\r\nHost: node\r\n", b"G", b"POST /webhooks/autumn HTTP/1.1\r\nContent-"]:
            with self.subTest(said):
                # What says too little to be known for HTTP has ten seconds.
                self.assertTrue(closes(self.peer(node.http, said), 15 if len(said) < 24 else SOON))

    def test_a_connection_that_asks_nothing_more_is_closed(self):
        node = self.started()
        peer = self.peer(node.http, b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n")
        self.assertIn(b"alive", peer.recv(4096))
        self.assertTrue(closes(peer, SOON))

    def test_idle_connections_take_neither_the_port_nor_the_descriptors(self):
        node = self.node(environment=SHORT, under=["prlimit", "--nofile=1024:1024"])
        for _ in range(1100):
            self.peer(node.http, b"GET /livez HTTP/1.1\r\n")
        self.assertTrue(self.plane(node).gate.Acquire(org="acme").allowed, "the gRPC port is not concerned")
        self.assertEqual(get(node, "/livez", 30), 200, "those before it left")

    def test_too_many_open_files_are_said_at_start(self):
        node = self.node(environment={"TOLLGATE__BOUNDS__CONNECTIONS": "2000"}, under=["prlimit", "--nofile=1024:1024"])
        eventually(lambda: len(node.logged("RLIMIT_NOFILE")) == 1, "a warning")


class GrpcPort(Bounded):
    def test_a_request_that_does_not_arrive_ends(self):
        node = self.started()
        caller = self.caller(node)
        begun = {
            "no message": caller.ask(end=False),
            "half a prefix": caller.ask(data=b"\0\0", end=False),
            "half a message": caller.ask(data=message(acquire("acme"))[:-1], end=False),
            "a message and no end": caller.ask(data=message(acquire("acme")), end=False),
            "a question about health": caller.ask("/grpc.health.v1.Health/Check", end=False),
        }
        for name, stream in begun.items():
            with self.subTest(name):
                answer = caller.answer(stream, SOON)
                self.assertEqual(answer.get("grpc-status"), "4", answer)
                self.assertIn("bounds.request_ms", answer["grpc-message"])
        stream = caller.ask(data=message(acquire("acme")))
        self.assertEqual(caller.answer(stream).get("grpc-status"), "0", "the connection goes on")

    def test_a_request_is_one_plain_message(self):
        node = self.started()
        caller = self.caller(node)
        whole = message(acquire("acme"))
        for name, data in [("nothing", b""), ("half a prefix", whole[:3]), ("half a message", whole[:-1]), ("two messages", whole + whole),
                           ("compressed", b"\1" + whole[1:]), ("no message of the rpc", message(b"\xff"))]:
            with self.subTest(name):
                answer = caller.answer(caller.ask(data=data))
                self.assertEqual(answer.get("grpc-status"), "3", answer)
        with self.subTest("one that is cut into bytes"):
            stream = caller.ask(end=False)
            for at in range(len(whole)):
                caller.http.send_data(stream, whole[at:at + 1], end_stream=at == len(whole) - 1)
                caller.flush()
            self.assertEqual(caller.answer(stream).get("grpc-status"), "0")
        with self.subTest("too long"):
            answer = caller.answer(caller.ask(data=message(b"\0" * 65_537)[:16_000], end=False), SOON)
            self.assertEqual(answer.get("grpc-status"), "4", "what does not come is waited for")
            self.assertEqual(caller.answer(self.long(caller, 65_537)).get("grpc-status"), "11")
        with self.subTest("by a client that compresses"), grpc.insecure_channel(node.grpc) as channel:
            call = channel.unary_unary(ACQUIRE)
            with self.assertRaises(grpc.RpcError) as refused:
                call(acquire("acme") * 100, compression=grpc.Compression.Gzip, timeout=SOON)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        used = self.plane(node).gate.GetStatus(org="acme").limits[0].used
        self.assertEqual(used, 1, "what is refused is not carried out")

    def long(self, caller, length):
        """The stream of a request of so many bytes."""
        stream, whole = caller.ask(end=False), message(b"\0" * length)
        for at in range(0, len(whole), 16_000):
            caller.read(lambda: False, 0.05)
            if stream not in caller.ended:
                caller.http.send_data(stream, whole[at:at + 16_000], end_stream=at + 16_000 >= len(whole))
        caller.flush()
        return stream

    def test_a_stream_may_be_quiet_between_its_messages_and_not_inside_of_one(self):
        node = self.started()
        caller = self.caller(node)
        path = "/tollgate.v1.GateService/AcquireStream"
        asked = b"\x12" + bytes([len(acquire("acme"))]) + acquire("acme")
        stream = caller.ask(path, data=message(asked), end=False)
        for count in [1, 2]:
            self.assertTrue(caller.read(lambda: len(caller.data.get(stream, b"")) > 0), f"answer {count}")
            caller.data.clear()
            self.assertFalse(caller.read(lambda: stream in caller.ended, 1.5), "longer than request_ms and idle_ms")
            caller.http.send_data(stream, message(asked))
            caller.flush()
        caller.http.send_data(stream, message(asked)[:7])
        caller.flush()
        self.assertEqual(caller.answer(stream, SOON).get("grpc-status"), "4")

    def test_messages_that_arrive_share_one_budget(self):
        node = self.started(unread_bytes=1 << 20, request_ms=3000, connection_idle_ms=60_000)
        half = message(b"\0" * 60_000)[:-1]
        statuses = []
        for _ in range(4):
            caller = self.caller(node, settings={SettingCodes.INITIAL_WINDOW_SIZE: 65535})
            self.assertTrue(caller.read(lambda: caller.http.remote_settings.initial_window_size > 65535))
            # The connection's own window, which the node has opened by then.
            caller.read(lambda: caller.http.outbound_flow_control_window > 1 << 20, 1)
            streams = [caller.ask(end=False) for _ in range(10)]
            for stream in streams:
                for at in range(0, len(half), 16_000):
                    if stream not in caller.ended:
                        caller.http.send_data(stream, half[at:at + 16_000])
                caller.flush()
            statuses.append((caller, streams))
        ended = [caller.answer(stream, 8).get("grpc-status") for caller, streams in statuses for stream in streams]
        self.assertEqual(set(ended), {"4", "8"}, ended)
        self.assertLessEqual(ended.count("4"), (1 << 20) // 60_000 + 1, "as many as fit")
        self.assertTrue(self.plane(node).gate.Acquire(org="acme").allowed, "the budget is free again")

    def test_answers_that_are_not_taken_end_the_connection(self):
        node = self.started()
        with self.subTest("no window for the stream"):
            caller = self.caller(node, settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
            for _ in range(10):
                caller.ask(data=message(acquire("acme")))
            self.assertTrue(closes(caller.socket, SOON))
        with self.subTest("no window for the connection"):
            peer = self.peer(node.http, receive=4096)
            ask = b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n"
            peer.settimeout(3)
            try:
                for _ in range(20_000):
                    peer.sendall(ask)
            except (TimeoutError, ConnectionError):
                pass
            self.assertTrue(is_cut(peer, SOON))

    def test_a_connection_that_only_answers_pings_is_asked_to_go(self):
        node = self.started()
        caller = self.caller(node)
        stream = caller.ask(data=message(acquire("acme")))
        self.assertEqual(caller.answer(stream).get("grpc-status"), "0")
        self.assertFalse(caller.read(lambda: caller.gone, 0.7))
        caller.http.ping(b"12345678")
        caller.flush()
        self.assertTrue(caller.read(lambda: caller.gone, SOON))

    def test_an_address_has_its_share_of_the_places(self):
        node = self.started(connections_per_address=5, connection_idle_ms=60000)
        for port in [node.grpc, node.http]:
            held = [self.peer(port, b"PRI * HTTP/2.0\r\n") for _ in range(5)]
            self.assertTrue(closes(self.peer(port), SOON), "the sixth")
            self.assertFalse(closes(held[0], 0.3), "those before it stay")
            self.assertFalse(closes(self.peer(port, source="127.0.0.2"), 0.3), "another address")
        self.assertEqual(len(node.logged("connections_per_address")), 2, "once for each listener")
        # The share is free again.
        for peer in held:
            peer.close()
        until = time.monotonic() + SOON
        while closes(self.peer(node.http), 0.3):
            self.assertLess(time.monotonic(), until)


class Requests(Bounded):
    def test_what_is_in_no_protocol_is_refused_and_not_executed(self):
        node = self.started()
        org = fresh("media")
        caller = self.caller(node)
        for kind in ["text/plain", "application/grpc+json", "application/grpc-webx", "application/grpcx", ""]:
            stream = caller.ask(content_type=kind, data=message(acquire(org)))
            answer = caller.answer(stream)
            self.assertEqual(answer.get(":status"), "415", (kind, answer))
            self.assertIn("application/grpc", answer["accept-post"])
            self.assertIn(b"application/grpc", caller.data[stream])
        for kind in ["application/grpc+proto", "APPLICATION/GRPC", "application/grpc;charset=utf-8"]:
            stream = caller.ask(content_type=kind, data=message(acquire(org)))
            self.assertEqual(caller.answer(stream).get("grpc-status"), "0", kind)
        shown = self.plane(node).admin.GetOrg(org=org)
        self.assertEqual(shown.rate.count, 3, "what was refused is not counted")

    def test_what_is_no_rpc_is_answered_in_a_sentence(self):
        node = self.started()
        peer = self.peer(node.grpc, b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
        peer.settimeout(SOON)
        heard = b""
        while more := peer.recv(4096):
            heard += more
        self.assertTrue(heard.startswith(b"HTTP/1.1 404"), heard)
        self.assertIn(b"no rpc has this path", heard)

    def test_malformed_bytes_are_an_invalid_argument(self):
        node = self.started()
        plane = self.plane(node)
        for bytes_ in [b"\xff\xff\xff\xff", b"\x0a\x7f1", b"\x0a\x01\xff"]:
            refused = refusal(plane.channel.unary_unary(ACQUIRE), bytes_)
            self.assertEqual(refused.code, grpc.StatusCode.INVALID_ARGUMENT, bytes_)

    def test_empty_items_are_counted_before_they_are_decoded(self):
        node = self.started()
        plane = self.plane(node)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        before = peak_bytes(node)
        for rpc in ["GateService/AcquireBatch", "GateService/BatchGetStatus", "SessionService/BatchStatus",
                    "PoolService/ConfigurePool"]:
            call = plane.channel.unary_unary(f"/tollgate.v1.{rpc}")
            refused = refusal(call, b"\x0a\x00" * 500_000)
            self.assertEqual(refused.code, grpc.StatusCode.INVALID_ARGUMENT, rpc)
        self.assertLess(peak_bytes(node) - before, 32 << 20)

    def test_a_request_about_one_org_is_short(self):
        node = self.started()
        refused = refusal(self.plane(node).gate.Acquire, org="a" * (70 << 10))
        self.assertIn(refused.code, (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.RESOURCE_EXHAUSTED))


class Exit(Bounded):
    def test_half_open_peers_on_both_ports_do_not_delay_it(self):
        node = self.node(environment={"TOLLGATE__BOUNDS__DRAIN_MS": "500"})
        for port in [node.grpc, node.http]:
            for said in [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost: node\r\n",
                         b"POST /webhooks/autumn HTTP/1.1\r\nHost: node\r\nContent-Length: 100\r\n\r\n"]:
                self.peer(port, said)
        caller = self.caller(node)
        caller.ask(data=message(acquire("acme"))[:-1], end=False)
        began = time.monotonic()
        self.assertEqual(node.stop(), 0)
        self.assertLess(time.monotonic() - began, 4, "drain_ms, and what the store needs")


if __name__ == "__main__":
    unittest.main()
