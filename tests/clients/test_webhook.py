"""Events are delivered to a webhook: each at least once, under one id, signed, whatever becomes of the node."""

import os
import time
from collections import Counter, defaultdict

from case import NodeCase
from node import eventually
from receiver import Receiver, secret
from test_events import CONFIG, spend

YEAR = 365 * 24 * 3600


def key(message):
    """What an event is known by."""
    return (message["data"]["org"], int(message["data"]["number"]))


class Webhooks(NodeCase):
    def receiver(self, **options):
        receiver = Receiver(**options)
        self.addCleanup(receiver.close)
        return receiver

    def telling(self, receiver, config="", clock=None, **keys):
        node = self.node(start=False, clock=clock)
        node.write_config(config + receiver.config(os.path.dirname(node.config_file), **keys))
        return node.start()

    def listed(self, node, *orgs):
        plane = self.plane(node)
        events = [event for org in orgs for event in plane.admin.ListEvents(org=org, page_size=1000).events]
        return {(event.org, event.number): event for event in events}

    def test_each_event_comes_under_one_id_over_thirty_kills_to_a_receiver_that_fails_a_third_of_the_time(self):
        """R-EXPL-3"""
        receiver = self.receiver(fails=1 / 3)
        node = self.telling(receiver, CONFIG)
        for number in range(10):
            for amount in (80, 15, 5):
                plane = self.plane(node)
                scope = f"workspace/{number}"
                plane.gate.Record(org=f"org-{number % 3}", scope=scope, request_id=f"{number}-{amount}", usage=spend(amount))
                plane.close()
                node.kill()
                node.start()
        orgs = [f"org-{number}" for number in range(3)]
        listed = self.listed(node, *orgs)
        self.assertEqual(len(listed), 30)
        eventually(lambda: {key(message) for _, message in receiver.messages()} == set(listed), "delivery of all", 60)
        ids, names = defaultdict(set), defaultdict(set)
        for id, message in receiver.tried:
            ids[key(message)].add(id)
            names[id].add(key(message))
        self.assertTrue(all(len(of) == 1 for of in (*ids.values(), *names.values())), "one id for one event")
        for _, message in receiver.messages():
            event, data = listed[key(message)], message["data"]
            self.assertEqual((message["type"], data["kind"], data["scope"]), (event.kind, event.kind, event.scope))
            self.assertEqual((int(data["used"]), int(data["amount"])), (event.used, event.amount))
        first = [key(message) for _, message in receiver.messages()]
        for org in orgs:
            numbers = [number for of, number in dict.fromkeys(first) if of == org]
            self.assertEqual(numbers, sorted(numbers), "in the order in which it happened")
        self.assertEqual(receiver.refused, [])

    def test_what_waits_while_nobody_receives_comes_when_somebody_does(self):
        """R-EXPL-3"""
        receiver = self.receiver(fails=1.0)
        node = self.telling(receiver, CONFIG)
        plane = self.plane(node)
        for number in range(20):
            plane.admin.Freeze(org=f"org-{number}", request_id="f", reason="test")
        eventually(lambda: receiver.attempts() >= 8, "attempts")
        shown = plane.admin.GetNode().webhook
        self.assertEqual((shown.delivered_at_ms, shown.trouble), (0, "it answered 500"))
        self.assertGreater(shown.failures, 0)
        self.assertIn("attempts failed since: it answered 500", node.run("node", "--addr", node.grpc).stdout)
        plane.close()
        node.kill()
        receiver.fails = 0.0
        node.start()
        eventually(lambda: len(receiver.messages()) >= 20, "delivery of all", 60)
        self.assertEqual({key(message) for _, message in receiver.messages()}, {(f"org-{number}", 1) for number in range(20)})
        plane = self.plane(node)
        eventually(lambda: plane.admin.GetNode().webhook.failures == 0, "a receipt")
        self.assertGreater(plane.admin.GetNode().webhook.delivered_at_ms, 0)

    def test_a_restart_does_not_deliver_again_what_has_a_receipt(self):
        receiver = self.receiver()
        node = self.telling(receiver)
        plane = self.plane(node)
        for id in "abc":
            plane.admin.Freeze(org="acme", request_id=id, reason=id)
        eventually(lambda: len(receiver.messages()) == 3, "delivery")
        plane.close()
        self.assertEqual(node.stop(), 0)
        node.start()
        plane = self.plane(node)
        plane.admin.Unfreeze(org="acme", request_id="u", reason="enough")
        eventually(lambda: len(receiver.messages()) == 4, "delivery")
        self.assertEqual(Counter(key(message) for _, message in receiver.messages()), Counter(("acme", n) for n in range(1, 5)))

    def test_a_secret_is_replaced_while_events_go_on_and_none_is_refused(self):
        """R-OPS-15"""
        old, new = secret("a"), secret("b")
        receiver = self.receiver(secret=old)
        node = self.telling(receiver)
        plane = self.plane(node)
        path = f"{os.path.dirname(node.config_file)}/webhook-secret"

        def event(number):
            plane.admin.Freeze(org=f"org-{number}", request_id="f", reason="something happens")
            eventually(lambda: len(receiver.messages()) == number, "delivery")

        event(1)
        for number, (at_node, at_receiver) in enumerate([(f"{new}\n{old}\n", new), (f"{new}\n", new)]):
            with open(path, "w", encoding="utf-8") as file:
                file.write(at_node)
            self.assertTrue(plane.admin.Reload().applied)
            event(2 + 2 * number)
            receiver.secret = at_receiver
            event(3 + 2 * number)
        self.assertEqual(receiver.refused, [])

    def test_a_reload_brings_another_receiver_with_another_secret_and_kinds_and_takes_it_away(self):
        one, two = self.receiver(), self.receiver(secret=secret("b"))
        node = self.node()
        plane = self.plane(node)
        directory = os.path.dirname(node.config_file)

        def follow(config):
            node.write_config(config)
            return plane.admin.Reload()

        plane.admin.Freeze(org="acme", request_id="before", reason="nobody is told")
        self.assertTrue(follow(one.config(directory)).applied)
        plane.admin.Unfreeze(org="acme", request_id="one", reason="one")
        eventually(lambda: [key(message) for _, message in one.messages()] == [("acme", 2)], "only what happened since")
        changes = {change.key: change for change in follow(two.config(directory, kinds='["exhausted"]') + "[rate]\namount = 1\n").changes}
        self.assertTrue(changes["webhook.url"].secret and changes["webhook.secret_file"].secret, changes)
        plane.admin.Freeze(org="bond", request_id="two", reason="not wanted")
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        eventually(lambda: [message["type"] for _, message in two.messages()] == ["exhausted"], "the kind that is wanted")
        self.assertTrue(follow("[rate]\namount = 1\n").applied)
        self.assertFalse(plane.admin.GetNode().HasField("webhook"))
        plane.admin.Freeze(org="acme", request_id="none", reason="nobody is told again")
        self.assertTrue(follow(two.config(directory)).applied)
        plane.admin.Unfreeze(org="acme", request_id="again", reason="it goes on where it was")
        numbers = lambda: [number for of, number in (key(message) for _, message in two.messages()) if of == "acme"]  # noqa: E731
        listed = sorted(number for _, number in self.listed(node, "acme"))
        eventually(lambda: numbers()[-1:] == listed[-1:], "delivery")
        self.assertEqual(one.refused + two.refused, [])
        self.assertEqual(len(one.messages()), 1)

    def test_what_was_not_kept_until_somebody_received_it_is_named(self):
        config = "[bounds]\noperator_events_per_org = 2\n"
        node = self.telling(self.receiver(fails=1.0), config)
        plane = self.plane(node)
        for number in range(3):
            plane.admin.Freeze(org="acme", request_id=f"f{number}", reason="test")
            plane.admin.Unfreeze(org="acme", request_id=f"u{number}", reason="test")
        plane.close()
        node.kill()
        # What the killed process has sent last may still be read by the one that takes nothing.
        receiver = self.receiver()
        node.write_config(config + receiver.config(os.path.dirname(node.config_file)))
        node.start()
        eventually(lambda: len(receiver.messages()) == 3, "delivery", 60)
        (_, gap), *events = receiver.messages()
        self.assertEqual((gap["type"], gap["data"]["fromNumber"], gap["data"]["toNumber"]), ("gap", "1", "4"))
        self.assertEqual([key(message) for _, message in events], [("acme", 5), ("acme", 6)])

    def test_what_happens_to_the_node_is_delivered_as_well(self):
        receiver = self.receiver()
        # The receiver's clock is that of the machine, and believes what is signed by it.
        clock = self.clock(monotonic=False, at=time.time())
        self.telling(receiver, clock=clock)
        clock.step(YEAR)
        eventually(lambda: [message["type"] for _, message in receiver.messages()] == ["clock_trouble"], "the event of the node", 30)
        (_, message), = receiver.messages()
        self.assertTrue(message["data"]["node"] and not message["data"]["org"], message)
