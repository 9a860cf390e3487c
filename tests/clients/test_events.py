"""What happens to an org is an event once, whatever becomes of the node."""

from collections import Counter

from case import NodeCase

CONFIG = """
[plans.all.scopes]
"workspace/*" = { spend = { aligned_24h = "100u" } }
[defaults]
plan = "all"
"""


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


class Kills(NodeCase):
    def test_each_crossing_is_an_event_exactly_once_over_thirty_kills(self):
        """R-PIPE-10, R-EXPL-3"""
        node = self.node(config=CONFIG)
        for number in range(10):
            for amount in (80, 15, 5):
                plane = self.plane(node)
                ask = {"org": "acme", "scope": f"workspace/{number}", "request_id": f"{number}-{amount}"}
                plane.gate.Record(**ask, usage=spend(amount))
                plane.close()
                node.kill()
                node.start()
                if amount == 15:
                    plane = self.plane(node)
                    self.assertTrue(plane.gate.Record(**ask, usage=spend(amount)).replayed)
                    plane.close()
        events = list(self.plane(node).admin.ListEvents(org="acme", page_size=1000).events)
        self.assertEqual([event.number for event in events], list(range(1, len(events) + 1)), "without a gap")
        seen = Counter((event.scope, event.kind, event.percent) for event in events)
        steps = [("near_limit", 80), ("near_limit", 95), ("exhausted", 100)]
        self.assertEqual(seen, Counter((f"workspace/{number}", *step) for number in range(10) for step in steps))
        last = events[-1]
        self.assertEqual((last.limit, last.used, last.amount, last.meter), ("quota/spend/aligned/1d", 100, 100, "spend"))

    def test_a_spell_of_denials_is_its_first_and_its_last(self):
        """R-EXPL-3"""
        clock = self.clock(minute=10)
        node = self.node(config="[rate]\namount = 2\n", clock=clock)
        plane = self.plane(node)
        allowed = [plane.gate.Acquire(org="acme").allowed for _ in range(5)]
        self.assertEqual(allowed, [True, True, False, False, False])
        kinds = lambda: [event.kind for event in plane.admin.ListEvents(org="acme").events]  # noqa: E731
        self.assertEqual(kinds(), ["exhausted", "denials_began"])
        clock.step(3600)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        events = list(plane.admin.ListEvents(org="acme").events)
        by_kind = {event.kind: event for event in events}
        self.assertEqual(sorted(by_kind), ["denials_began", "denials_ended", "exhausted", "recovered"])
        ended = by_kind["denials_ended"]
        self.assertEqual((ended.gate, ended.limit, ended.count), ("rate", "rate", 3))
