"""What every gRPC client relies on: health, reflection, connections that end, the HTTP port."""

import threading
import unittest
import urllib.error
import urllib.request

import grpc
from grpc_health.v1 import health_pb2

from case import NodeCase, SharedNodeCase
from node import eventually
from plane import CALL_WITHIN, SERVICES, list_services, refusal

SERVING = health_pb2.HealthCheckResponse.SERVING
ALL = {*SERVICES.values(), "grpc.health.v1.Health"}


def fetch(address, path, method="GET"):
    """Status, content type, text."""
    request = urllib.request.Request(f"http://{address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=CALL_WITHIN) as answer:
            return answer.status, answer.headers.get("content-type"), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("content-type"), error.read().decode()


class Wire(SharedNodeCase):
    def test_health_answers_for_the_node_and_for_each_service(self):
        for service in ["", *SERVICES.values()]:
            answer = self.client.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_WITHIN)
            self.assertEqual(answer.status, SERVING, service)
        unknown = refusal(self.client.health.Check, health_pb2.HealthCheckRequest(service="nobody"), timeout=CALL_WITHIN)
        self.assertEqual(unknown.code, grpc.StatusCode.NOT_FOUND)

    def test_health_can_be_watched(self):
        watch = self.client.health.Watch(health_pb2.HealthCheckRequest(), timeout=CALL_WITHIN)
        self.assertEqual(next(watch).status, SERVING)
        watch.cancel()

    def test_reflection_v1_and_v1alpha_list_every_service(self):
        for version in ["v1", "v1alpha"]:
            services = list_services(self.client.channel, version)
            self.assertTrue(ALL <= services, (version, ALL - services))

    def test_an_unknown_rpc_is_unimplemented(self):
        call = self.client.channel.unary_unary("/tollgate.v1.GateService/Nothing")
        self.assertEqual(refusal(call, b"", timeout=CALL_WITHIN).code, grpc.StatusCode.UNIMPLEMENTED)

    def test_bytes_that_are_no_message_are_refused_and_the_connection_goes_on(self):
        call = self.client.channel.unary_unary("/tollgate.v1.GateService/Acquire")
        refused = refusal(call, b"\xff\xff\xff\xff", timeout=CALL_WITHIN)
        self.assertEqual(refused.code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertTrue(self.gate.Acquire(org="acme").allowed)

    def test_a_message_past_the_bound_is_refused(self):
        refused = refusal(self.gate.Acquire, org="a" * (2 << 20))
        self.assertIn(refused.code, (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.RESOURCE_EXHAUSTED))

    def test_the_callers_deadline_is_kept(self):
        """R-PIPE-8: a short deadline is answered or ends, and the node lives on"""
        for _ in range(20):
            try:
                self.gate.Acquire(org="hasty", timeout=0.002)
            except grpc.RpcError as error:
                self.assertIn(error.code(), (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED))
        self.assertTrue(self.gate.Acquire(org="hasty").allowed)

    def test_the_http_port_tells_liveness_readiness_and_metrics(self):
        """R-OPS-3"""
        self.gate.Acquire(org="measured")
        self.assertEqual(fetch(self.shared.http, "/livez")[0], 200)
        self.assertEqual(fetch(self.shared.http, "/readyz")[::2], (200, "serving\n"))
        status, kind, text = fetch(self.shared.http, "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(kind.startswith(("application/openmetrics-text", "text/plain")), kind)
        self.assertTrue(text.rstrip().endswith("# EOF"))
        self.assertIn("tollgate_", text)
        self.assertNotIn("measured", text, "no org in a label: their number has no bound")
        self.assertEqual(fetch(self.shared.http, "/nothing")[0], 404)
        self.assertEqual(fetch(self.shared.http, "/livez", "POST")[0], 405)


class ConnectionAge(NodeCase):
    """R-PIPE-6: connections end at their maximum age, and clients go on."""

    AGED = {"TOLLGATE__BOUNDS__CONNECTION_AGE_MS": "1000"}

    def test_unary_calls_go_on_over_the_cut(self):
        node = self.node(environment={**self.AGED, "TOLLGATE__RATE__AMOUNT": "1000000"})
        gate = self.plane(node).gate
        ids, self.seen = set(), set()

        def calls():
            for _ in range(50):
                request = f"r{len(ids)}"
                ids.add(request)
                self.assertTrue(gate.Acquire(org="acme", request_id=request).allowed)
            return self.cuts(node) >= 2

        eventually(calls, "two cuts", within=20)
        self.assertEqual(self.plane(node).admin.GetOrg(org="acme").admitted_total, len(ids))

    def cuts(self, node):
        """Connections that the node has had so far, less the first, as the kernel lists them."""
        port = int(node.grpc.rpartition(":")[2])
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
        established = "01"
        self.seen |= {row[2] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == established}
        return len(self.seen) - 1

    def test_a_stream_ends_cleanly_and_resumed_by_request_ids_charges_once(self):
        node = self.node(environment={**self.AGED, "TOLLGATE__RATE__AMOUNT": "1000000"})
        gate = self.plane(node).gate
        answered, streams, ends, pause = {}, 0, [], threading.Event()
        wanted = [f"r{number}" for number in range(2000)]

        def items(todo):
            for tag in todo:
                # A caller that has something to ask now and then, for longer than a connection lives.
                pause.wait(0.002)
                yield {"tag": tag, "acquire": {"org": "acme", "request_id": wanted[tag]}}

        while len(answered) < len(wanted):
            streams += 1
            self.assertLess(streams, 60, f"{len(answered)} answered; streams ended with {ends}")
            todo = [tag for tag in range(len(wanted)) if tag not in answered]
            try:
                for answer in gate.AcquireStream(items(todo), timeout=30):
                    self.assertTrue(answer.decision.allowed, answer)
                    answered[answer.tag] = answer.decision.decision_id
                ends.append("OK")
            except grpc.RpcError as error:
                ends.append(error.code().name)
        self.assertGreater(streams, 2, "the connection was never cut")
        self.assertEqual(set(ends), {"OK"}, f"a stream that the server ends, ends cleanly: {ends}")
        self.assertEqual(len(set(answered.values())), len(wanted))
        self.assertEqual(self.plane(node).admin.GetOrg(org="acme").admitted_total, len(wanted), "charged once each")


class Drain(NodeCase):
    def test_a_draining_node_says_so_and_lets_running_executions_settle(self):
        """R-OPS-4, R-BAL-8"""
        node = self.node(environment={"TOLLGATE__BOUNDS__DRAIN_NOTICE_MS": "3000"})
        plane = self.plane(node)
        spend = [{"meter": "spend", "amount": 5}]
        hold = plane.gate.Acquire(org="acme", reserve=spend).reservation_id
        watch = plane.health.Watch(health_pb2.HealthCheckRequest(), timeout=CALL_WITHIN)
        self.assertEqual(next(watch).status, SERVING)
        node.process.terminate()
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
        self.assertEqual(fetch(node.http, "/readyz")[::2], (503, "draining\n"))
        refused = refusal(plane.gate.Acquire, org="acme")
        self.assertEqual((refused.code, refused.reason), (grpc.StatusCode.UNAVAILABLE, "DRAINING"))
        self.assertIsNotNone(refused.retry_after)
        plane.gate.Commit(org="acme", reservation_id=hold, request_id="c", actual=spend)
        self.assertTrue(plane.gate.Resume(org="acme", execution_id="e").counted)
        watch.cancel()
        self.assertEqual(node.process.wait(30), 0)
        node.process = None
        plane = self.plane(node.start())
        self.assertEqual(plane.budget.GetBudget(org="acme").budget.periods["hourly"].spend, 5)


if __name__ == "__main__":
    unittest.main()
