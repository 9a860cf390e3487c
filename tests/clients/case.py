"""What the tests have in common: a node per class, planes that are closed, ids that do not repeat."""

import itertools
import json
import os
import unittest

from node import FakeClock, Node, eventually
from plane import Plane

_ids = itertools.count(1)


def fresh(prefix="r"):
    """A name that no other test of this run uses."""
    return f"{prefix}-{next(_ids)}"


COUNTS_DOWN = ("remaining_ms", "_in_ms", "runs_out_at_ms")


def at_rest(message):
    """The same message without what is left until an instant, and without forecasts: both move with every millisecond."""
    kept = type(message)()
    kept.CopyFrom(message)
    _stop_counting(kept)
    return kept


def _stop_counting(message):
    for field, value in message.ListFields():
        if field.name.endswith(COUNTS_DOWN):
            message.ClearField(field.name)
        elif field.message_type and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else [value]:
                _stop_counting(each)


class NodeCase(unittest.TestCase):
    """Tests that bring their own nodes."""

    def node(self, start=True, **options):
        node = Node(**options)
        self.addCleanup(node.close)
        return node.start() if start else node

    def clock(self, **options):
        clock = FakeClock(**options)
        self.addCleanup(clock.close)
        return clock

    def exported(self, node):
        """The rows that a stopped node has stored, as dictionaries."""
        answer = node.run("export", "--data-dir", node.data_dir)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return [json.loads(line) for line in answer.stdout.splitlines()]

    def restored(self, node, change, **options):
        """A node that has what `node`, which is stopped, has stored, each row as `change` left it."""
        rows = self.exported(node)
        for row in rows:
            change(row)
        new = self.node(start=False, **options)
        file = os.path.join(os.path.dirname(new.config_file), "rows.jsonl")
        with open(file, "w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows if "end" not in row)
        # Changed lines have no closing line that fits, and may be damage on purpose.
        answer = new.run("import", "--data-dir", new.data_dir, "--accept-unclosed", "--accept-damage", file)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return new.start()

    def plane(self, node):
        plane = Plane(node.grpc)
        self.addCleanup(plane.close)
        return plane


class SharedNodeCase(NodeCase):
    """Tests that share one node and stay apart by the names of their orgs."""

    CONFIG = ""
    CLOCK = None
    ENVIRONMENT = None

    @classmethod
    def setUpClass(cls):
        clock = FakeClock(**cls.CLOCK) if cls.CLOCK is not None else None
        if clock:
            cls.addClassCleanup(clock.close)
        cls.shared = Node(config=cls.CONFIG, clock=clock, environment=cls.ENVIRONMENT)
        cls.addClassCleanup(cls.shared.close)
        cls.shared.start()
        cls.client = Plane(cls.shared.grpc)
        cls.addClassCleanup(cls.client.close)
        cls.gate, cls.admin = cls.client.gate, cls.client.admin
        cls.budget, cls.session = cls.client.budget, cls.client.session
