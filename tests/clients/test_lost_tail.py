"""An engine that went back in time, and the number of the last group beside it damaged or gone."""

import os
import shutil

from case import NodeCase
from plane import ready

SPEND = [{"meter": "spend", "amount": 1}]


class LostTail(NodeCase):
    """R-OPS-6: older values are never served as if they were the newest."""

    def setUp(self):
        self.lossy = self.node(start=False)
        engine = os.path.join(self.lossy.data_dir, "sled")
        self.number = os.path.join(self.lossy.data_dir, "committed")
        self.record(range(3))
        shutil.copytree(engine, engine + ".older")
        self.record(range(3, 9))
        shutil.rmtree(engine)
        os.rename(engine + ".older", engine)

    def record(self, numbers):
        plane = self.plane(self.lossy.start())
        for number in numbers:
            plane.gate.Record(org="acme", request_id=str(number), usage=SPEND)
        plane.close()
        self.assertEqual(self.lossy.stop(), 0)

    def refused(self, *flags):
        """What readiness says of a node that does not serve what it found."""
        node = self.lossy.start(*flags)
        status, text = ready(node.http)
        self.assertEqual(status, 503, "it serves older values")
        node.stop()
        return text

    def test_a_damaged_number_is_refused_like_a_lost_tail_and_no_flag_passes_over_it(self):
        with open(self.number, "rb") as file:
            whole = file.read()
        self.assertIn("lost its tail: group", self.refused())
        self.assertIn("lost its tail: group", self.refused("--accept-lost-tail"))
        flipped = bytes([whole[0] ^ 1, *whole[1:]])
        for what, damaged in (("a bit", flipped), ("cut", whole[:5]), ("empty", b""), ("longer", whole + b"x")):
            with self.subTest(what):
                with open(self.number, "wb") as file:
                    file.write(damaged)
                for flags in ((), ("--accept-lost-tail",)):
                    text = self.refused(*flags)
                    self.assertIn('"committed" is damaged', text)
                    self.assertIn("--accept-lost-tail", text)
        checked = self.lossy.run("fsck", "--data-dir", self.lossy.data_dir)
        self.assertEqual(checked.returncode, 1)
        self.assertIn('"committed" is damaged', checked.stdout)

    def test_a_missing_number_is_refused_until_an_operator_accepts_it_once(self):
        os.remove(self.number)
        self.assertIn('"committed" is missing', self.refused())
        node = self.lossy.start("--accept-lost-tail")
        plane = self.plane(node)
        replayed = [plane.gate.Record(org="acme", request_id=str(n), usage=SPEND).replayed for n in range(9)]
        self.assertEqual(replayed, [True] * 3 + [False] * 6, "what was left, and no more")
        self.assertTrue(node.logged("commits may be lost"))
        node.stop()
        self.plane(node.start())
