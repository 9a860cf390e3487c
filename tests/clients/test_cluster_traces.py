"""R-OPS-17: a call that its owner carries out is one trace over both nodes."""

import unittest

from case import fresh
from cluster_case import ClusterCase
from collector import Collector
from node import eventually
from test_traces import ACQUIRE, CLIENT, SERVER, callers


class OfTwoNodes(ClusterCase):
    def test_one_trace_goes_through_both_nodes(self):
        collector = Collector()
        self.addCleanup(collector.close)
        cluster = self.cluster(config=f'[tracing]\nendpoint = "{collector.url}"\none_in = 0\n')
        cluster.wait_until_owned()
        name = next(iter(cluster.nodes))
        for _ in range(50):
            trace, parent, header = callers()
            answer = cluster.client(name).gate.Acquire(org=fresh("org"), metadata=[("traceparent", header)])
            if answer.node != name:
                break
        spans = eventually(lambda: self.whole(collector.spans(trace)), "the spans of both nodes")
        first = next(span for span in spans if span.parent == parent)
        (forward,) = [span for span in spans if span.name == "forward"]
        second = next(span for span in spans if span.parent == forward.id)
        (decide,) = [span for span in spans if span.name == "decide"]
        self.assertEqual([first.name, second.name], [ACQUIRE, ACQUIRE])
        self.assertEqual((first.kind, forward.kind, second.kind), (SERVER, CLIENT, SERVER))
        self.assertEqual((forward.parent, decide.parent), (first.id, second.id))
        self.assertEqual((first.about["service.instance.id"], second.about["service.instance.id"]), (name, answer.node))
        self.assertEqual(forward.says["tollgate.owner"], answer.node)

    @staticmethod
    def whole(spans):
        return spans if [span.name for span in spans].count(ACQUIRE) == 2 else None


if __name__ == "__main__":
    unittest.main()
