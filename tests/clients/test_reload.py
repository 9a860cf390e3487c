"""A configuration file that is empty or half written is no reload."""

import os
import threading
import time

from case import NodeCase
from node import eventually
from plane import limit

HEAD = "[rate]\namount = 1000\n"
PLANS = '[plans.small]\nspend = { hourly = "100u" }\nexecutions = { calendar_day = 3 }\n'
ORGS = '[orgs."idle"]\nplan = "small"\n[orgs."used"]\nplan = "small"\n'
WHOLE = HEAD + PLANS + ORGS
BUDGET = "budget/hourly"


class Reload(NodeCase):
    """R-OPS-11"""

    def setUp(self):
        self.node_ = self.node(config=WHOLE)
        plane = self.plane(self.node_)
        self.gate, self.admin = plane.gate, plane.admin
        self.gate.Record(org="used", request_id="1", usage=[{"meter": "spend", "amount": 100}])
        self.assertFalse(self.gate.Acquire(org="used").allowed)

    def generation(self):
        return self.admin.GetNode().config_generation

    def reload(self, text):
        """What the log says of a reload that is refused; `None` where it is carried out."""
        refused, generation = len(self.node_.logged("was not reloaded")), self.generation()
        self.node_.write_config(text)
        self.node_.reload()
        eventually(lambda: len(self.node_.logged("was not reloaded")) > refused or self.generation() > generation,
                   "an outcome")
        if self.generation() > generation:
            return None
        self.assertFalse(self.gate.Acquire(org="used").allowed, "its limits stand")
        return self.node_.logged("was not reloaded")[-1]

    def test_a_file_that_is_empty_cut_or_without_its_plans_changes_nothing(self):
        for text in ("", "\n \n", "# nothing\n"):
            with self.subTest(repr(text)):
                self.assertIn("the file says nothing", self.reload(text) or "taken")
        self.assertIn("none of its plans", self.reload(HEAD) or "taken")
        self.assertIn("such as used", self.reload(HEAD + PLANS) or "taken")
        self.assertIn("such as used", self.reload(WHOLE[:WHOLE.index('[orgs."used"]')]) or "taken")
        self.assertIn("such as used", self.reload(WHOLE.replace('"used"]\nplan = "small"', '"used"]')) or "taken")
        refusal = self.reload(HEAD + PLANS)
        self.assertIn("reload.accept_lost_limits", refusal)
        self.assertEqual(self.generation(), 0)

    def test_other_changes_are_reloads_as_before(self):
        self.assertIsNone(self.reload(WHOLE.replace("100u", "200u")))
        self.assertTrue(self.gate.Acquire(org="used").allowed)
        self.assertIsNone(self.reload(WHOLE.replace('[orgs."idle"]\nplan = "small"\n', "")), "it has no usage")
        self.assertIsNone(self.reload(HEAD + PLANS + '[orgs."used"]\nspend = { daily = "5u" }\n'))
        self.assertFalse(self.gate.Acquire(org="used").allowed)

    def test_an_operator_who_means_it_says_so_in_the_file_or_restarts(self):
        self.assertIsNone(self.reload(HEAD + "[reload]\naccept_lost_limits = true\n"))
        self.assertTrue(self.gate.Acquire(org="used").allowed)
        self.assertTrue(self.node_.logged("reload.accept_lost_limits is true"))
        self.assertIsNone(self.reload(WHOLE))
        self.assertFalse(self.gate.Acquire(org="used").allowed)
        self.node_.write_config("")
        self.node_.stop()
        self.assertTrue(self.plane(self.node_.start()).gate.Acquire(org="used").allowed)

    def test_a_file_that_is_being_written_is_read_when_it_is_whole(self):
        text = HEAD + PLANS.replace("100u", "150u") + ORGS
        pieces = [text[:len(HEAD)], text[len(HEAD):len(HEAD + PLANS)], text[len(HEAD + PLANS):]]
        written = threading.Event()

        def write():
            with open(self.node_.config_file, "w", encoding="utf-8") as file:
                for piece in pieces:
                    file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                    time.sleep(0.06)
            written.set()

        threading.Thread(target=write).start()
        self.node_.reload()
        eventually(lambda: self.generation() == 1, "the reload")
        self.assertTrue(written.is_set())
        self.assertEqual(self.node_.logged("was not reloaded"), [])
        self.assertEqual(limit(self.gate.GetStatus(org="used"), BUDGET).amount, 150)
