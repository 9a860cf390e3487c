"""What the tests have in common: a node per class, planes that are closed, ids that do not repeat."""

import itertools
import unittest

from node import FakeClock, Node
from plane import Plane

_ids = itertools.count(1)


def fresh(prefix="r"):
    """A name that no other test of this run uses."""
    return f"{prefix}-{next(_ids)}"


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
        cls.gate, cls.budget, cls.admin = cls.client.gate, cls.client.budget, cls.client.admin
