"""R-OPS-17: calls that are sampled are recorded, from the caller's span down to each gate, and sent over OTLP."""

import secrets
import unittest

from billing import BilledCase
from case import NodeCase, fresh
from collector import Collector
from connect import Connect
from node import eventually
from plane import metric

SERVER, CLIENT, INTERNAL = 2, 3, 1
ACQUIRE = "tollgate.v1.GateService/Acquire"
WATCH = "tollgate.admin.v1.AdminService/WatchEvents"


def callers(flags="01"):
    """The trace, the span of the caller, and the header."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{flags}"


class TraceCase(NodeCase):
    def collector(self, port=0):
        collector = Collector(port)
        self.addCleanup(collector.close)
        return collector

    def traced(self, collector, one_in=0, config="", **options):
        return self.node(config=f'[tracing]\nendpoint = "{collector.url}"\none_in = {one_in}\n{config}', **options)

    def connect(self, node):
        connect = Connect(node.http)
        self.addCleanup(connect.close)
        return connect

    def seen(self, collector, trace, name):
        """The spans of the trace, once the one of this name has come."""
        def there():
            spans = collector.spans(trace)
            return spans if name in {span.name for span in spans} else None

        return eventually(there, f"{name} of {trace}")


class Recorded(TraceCase):
    def test_from_the_span_of_the_caller_down_to_each_gate(self):
        collector = self.collector()
        node = self.traced(collector, config='[plans.p]\nexecutions = { calendar_month = 1 }\n[defaults]\nplan = "p"\n'
                                             '[node]\nname = "n7"\n')
        plane = self.plane(node)
        for expected in ("ALLOWED", "QUOTA_EXCEEDED"):
            trace, parent, header = callers()
            answer = plane.gate.Acquire(org="acme", metadata=[("traceparent", header)])
            spans = {span.name: span for span in self.seen(collector, trace, ACQUIRE)}
            rpc, decide = spans[ACQUIRE], spans["decide"]
            self.assertEqual((rpc.parent, rpc.kind, rpc.failed), (parent, SERVER, None))
            self.assertEqual((rpc.says["rpc.method"], rpc.about["service.name"], rpc.about["service.instance.id"]),
                             (ACQUIRE, "tollgate", "n7"))
            self.assertEqual((decide.parent, decide.kind), (rpc.id, INTERNAL))
            self.assertEqual((decide.says["tollgate.org"], decide.says["tollgate.code"]), ("acme", expected))
            self.assertEqual(decide.says["tollgate.decision_id"], answer.decision_id)
            self.assertTrue(rpc.began <= decide.began <= decide.ended <= rpc.ended)
            gates = {name.removeprefix("gate/"): span for name, span in spans.items() if name.startswith("gate/")}
            self.assertEqual({span.parent for span in gates.values()}, {decide.id})
            verdicts = {name: span.says["tollgate.gate.verdict"] for name, span in gates.items()}
            self.assertEqual(verdicts["rate"], "passed")
            self.assertEqual(verdicts["budgets"], "passed" if expected == "ALLOWED" else "denied")
        self.assertEqual(gates["budgets"].says["tollgate.gate.message"], answer.message)

    def test_every_protocol_and_every_rpc_and_what_failed(self):
        collector = self.collector()
        node = self.traced(collector)
        connect, plane = self.connect(node), self.plane(node)
        trace, parent, header = callers()
        connect.post(ACQUIRE, {"org": "acme"}, traceparent=header)
        self.assertEqual(self.seen(collector, trace, ACQUIRE)[-1].trace, trace)
        trace, parent, header = callers()
        plane.gate.Record(org="acme", usage=[{"meter": "spend", "amount": 5}], request_id="r", metadata=[("traceparent", header)])
        spans = {span.name: span for span in self.seen(collector, trace, "tollgate.v1.GateService/Record")}
        self.assertEqual(spans["org"].says["tollgate.org"], "acme")
        trace, parent, header = callers()
        refused = connect.post(ACQUIRE, {"org": "a b"}, traceparent=header)
        (span,) = self.seen(collector, trace, ACQUIRE)
        self.assertEqual((span.says["error.type"], span.says["tollgate.message"]), ("INVALID_FIELD", refused.message))
        self.assertEqual((span.says["rpc.system.name"], span.failed), ("connectrpc", None), "the fault of its caller")
        trace, parent, header = callers()
        connect.first_of(WATCH, {"org": "acme"}, traceparent=header)
        (span,) = self.seen(collector, trace, WATCH)
        self.assertEqual(span.says["rpc.method"], WATCH)
        trace, parent, header = callers()
        asked = plane.gate.AcquireStream(iter([{"tag": 1, "acquire": {"org": "acme"}}]), metadata=[("traceparent", header)])
        self.assertEqual([answer.tag for answer in asked], [1])
        spans = {span.name: span for span in self.seen(collector, trace, "tollgate.v1.GateService/AcquireStream")}
        self.assertEqual(spans["decide"].says["tollgate.code"], "ALLOWED")

    def test_what_the_caller_does_not_record_is_not_recorded_and_all_else_by_chance(self):
        collector = self.collector()
        for one_in, expected in ((0, 0), (1, 20)):
            with self.subTest(one_in):
                connect = self.connect(self.traced(collector, one_in))
                before = len(collector.spans())
                trace, _, header = callers("00")
                connect.post(ACQUIRE, {"org": "acme"}, traceparent=header)
                for _ in range(20):
                    connect.post(ACQUIRE, {"org": "acme"})
                last, _, header = callers()
                connect.post(ACQUIRE, {"org": "acme"}, traceparent=header)
                self.seen(collector, last, ACQUIRE)
                self.assertEqual(collector.spans(trace), [])
                roots = [span for span in collector.spans()[before:] if span.name == ACQUIRE and span.trace != last]
                self.assertEqual([len(roots), {span.parent for span in roots} - {""}], [expected, set()])

    def test_a_trace_leads_to_the_decision_and_to_the_log(self):
        collector = self.collector()
        node = self.traced(collector, config="[orgs.icy]\nrate = { amount = 1 }\n")
        plane = self.plane(node)
        trace, _, header = callers()
        for _ in range(2):
            answer = plane.gate.Acquire(org="icy", metadata=[("traceparent", header)])
        explained = plane.admin.ExplainDecision(org="icy", decision_id=answer.decision_id)
        self.assertEqual(explained.decision.trace_id, trace)
        plane.gate.Record(org="icy", usage=[{"meter": "spend", "amount": 5}], request_id="r", metadata=[("traceparent", header)])
        (line,) = node.logged("usage was recorded that no admission preceded")
        self.assertEqual(node.fields(line)["trace_id"], trace)

    def test_one_that_is_chosen_by_chance_has_a_trace_of_its_own(self):
        collector = self.collector()
        node = self.traced(collector, 1, config="[orgs.icy]\nrate = { amount = 1 }\n")
        plane = self.plane(node)
        for _ in range(2):
            answer = plane.gate.Acquire(org="icy")
        trace = plane.admin.ExplainDecision(org="icy", decision_id=answer.decision_id).decision.trace_id
        spans = {span.name: span for span in self.seen(collector, trace, ACQUIRE)}
        self.assertEqual(spans["decide"].says["tollgate.decision_id"], answer.decision_id)

    def test_a_node_that_stops_sends_what_is_left(self):
        collector = self.collector()
        node = self.traced(collector)
        trace, _, header = callers()
        self.plane(node).gate.Acquire(org="acme", metadata=[("traceparent", header)])
        node.stop()
        self.assertIn(ACQUIRE, {span.name for span in collector.spans(trace)})

    def test_calls_do_not_wait_for_a_collector_that_is_away(self):
        collector = self.collector()
        node = self.traced(collector, 1)
        port = collector.port
        collector.close()
        connect = self.connect(node)
        for _ in range(50):
            self.assertEqual(connect.post(ACQUIRE, {"org": "acme"}).status, 200)
        eventually(lambda: metric(node.http, "tollgate_spans_total", outcome="lost") > 0, "spans are lost")
        back = self.collector(port)
        trace, _, header = callers()

        def sent():
            connect.post(ACQUIRE, {"org": "acme"}, traceparent=header)
            return back.spans(trace)

        eventually(sent, "spans are taken again", 20.0)
        eventually(lambda: metric(node.http, "tollgate_spans_total", outcome="sent") > 0, "they are counted")


class OfProvider(BilledCase, TraceCase):
    def test_the_question_to_the_billing_provider_is_a_part(self):
        collector = self.collector()
        node = self.billed(config=f'[tracing]\nendpoint = "{collector.url}"\none_in = 0\n')
        org, (trace, _, header) = fresh("org"), callers()
        self.standin.customers(**{org: {"features": {"executions": {"granted": 1_000}}}})
        self.plane(node).gate.Acquire(org=org, metadata=[("traceparent", header)])
        spans = {span.name: span for span in self.seen(collector, trace, ACQUIRE)}
        asked = spans["ask the billing provider"]
        self.assertEqual((asked.parent, asked.kind), (spans["decide"].id, CLIENT))
        self.assertEqual(spans["gate/balance"].says["tollgate.gate.verdict"], "passed")


if __name__ == "__main__":
    unittest.main()
