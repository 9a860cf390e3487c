"""A configuration file that is empty or half written is no reload, and every reload says what became of it."""

import json
import os
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from billing import LONG_CONNECTIONS
from case import NodeCase
from node import eventually
from plane import limit, metric

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
        others = 'spend = { daily = "5u" }\nexecutions = { calendar_week = 9 }\n'
        self.assertIsNone(self.reload(HEAD + PLANS + '[orgs."used"]\n' + others))
        self.assertFalse(self.gate.Acquire(org="used").allowed)

    def test_a_limit_of_another_kind_takes_the_place_of_none(self):
        """R-OPS-11"""
        for others in ('bytes = { calendar_day = 10 }', 'max_sessions = 1',
                       'spend = { daily = { amount = "5u", shadow = true } }',
                       'scopes."ws/*" = { spend = { daily = "5u" } }'):
            with self.subTest(others):
                refusal = self.reload(HEAD + PLANS + f'[orgs."used"]\n{others}\n') or "taken"
                self.assertIn("such as used (executions, spend)", refusal)

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


class Outcome(NodeCase):
    """R-OPS-4"""

    def started(self, clock=None, **environment):
        node = self.node(config="[rate]\namount = 2\n", clock=clock, environment=LONG_CONNECTIONS | environment)
        return node, self.plane(node)

    def reload(self, node, text, *flags):
        """What `tollgate reload` says after the file was changed."""
        node.write_config(text)
        return node.run("reload", "--addr", node.grpc, *flags)

    def assertShown(self, node, plane, refused, needs_restart):
        """By the rpc, by the command and by the metrics alike."""
        view = plane.admin.GetNode()
        self.assertEqual((list(view.needs_restart), bool(view.reload_mistakes)), (needs_restart, refused))
        shown = node.run("node", "--addr", node.grpc).stdout
        self.assertEqual("refused: " in shown, refused, shown)
        for key in needs_restart:
            self.assertIn(key, shown)
        self.assertEqual("needs a restart" in shown, bool(needs_restart), shown)
        self.assertEqual(metric(node.http, "tollgate_config_reload_refused"), refused)
        self.assertEqual(metric(node.http, "tollgate_config_needs_restart"), len(needs_restart))

    def test_a_reload_ends_with_0_only_where_all_of_it_is_in_force(self):
        node, plane = self.started()
        self.assertShown(node, plane, refused=False, needs_restart=[])
        done = self.reload(node, "[rate]\namount = 4\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertEqual([plane.gate.Acquire(org="acme").allowed for _ in range(5)], [True] * 4 + [False])

        in_part = '[rate]\namount = 6\n[node]\nname = "other"\n[durability]\nwrite_behind_max = 9\n'
        waiting = ["durability.write_behind_max", "node.name"]
        answer = self.reload(node, in_part, "--output", "json")
        self.assertEqual(answer.returncode, 1, answer.stdout)
        said = json.loads(answer.stdout)
        self.assertEqual((said["applied"], said["configGeneration"], said["needsRestart"]), (True, "2", waiting))
        again = self.reload(node, in_part)
        self.assertEqual(again.returncode, 1, "it is no more in force the second time")
        self.assertIn("in force in part", again.stdout)
        self.assertShown(node, plane, refused=False, needs_restart=waiting)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed, "the rest is in force")

        refused = self.reload(node, "[rate]\namount = 0\n[log]\nlevel = 5\n")
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertIn("refused", refused.stdout)
        for mistake in ["rate.amount", "log.level"]:
            self.assertIn(mistake, refused.stderr)
        self.assertShown(node, plane, refused=True, needs_restart=waiting)
        self.assertEqual(len(plane.admin.GetNode().reload_mistakes), 2)

        self.assertEqual(self.reload(node, "[rate]\namount = 8\n").returncode, 0)
        self.assertShown(node, plane, refused=False, needs_restart=[])

    def test_an_answer_names_each_key_that_changed_and_no_other(self):
        node, plane = self.started()
        node.write_config('[rate]\namount = 4\n[node]\nname = "other"\n[orgs."a.b"]\nmax_sessions = 2\n')
        answer = plane.admin.Reload()
        shown = [(c.key, c.HasField("from") and getattr(c, "from"), c.HasField("to") and c.to, c.needs_restart)
                 for c in answer.changes]
        expected = [("node.name", False, "other", True), ('orgs."a.b".max_sessions', False, "2", False),
                    ("rate.amount", "2", "4", False)]
        self.assertEqual((shown, answer.changed), (expected, 3))
        (line,) = node.logged("configuration reloaded in part")
        self.assertIn("rate.amount: 2 -> 4", line)
        self.assertIn("node.name: default -> other (needs a restart)", line)

        again = plane.admin.Reload()
        self.assertEqual([change.key for change in again.changes], ["node.name"], "what waits is named until the restart")
        back = self.reload(node, "[rate]\namount = 4\n")
        self.assertEqual(back.returncode, 0)
        rows = [line.split() for line in back.stdout.splitlines()]
        self.assertIn(["orgs.\"a.b\".max_sessions", "2", "default", "in", "force"], rows)
        self.assertNotIn("node.name", back.stdout, "it is what runs")
        unchanged = self.reload(node, "# the same\nrate = { amount = 4 }\n")
        self.assertEqual((unchanged.returncode, "changed        nothing" in unchanged.stdout), (0, True), unchanged.stdout)
        self.assertEqual(list(plane.admin.Reload().changes), [])

    def test_a_list_of_changes_has_an_end(self):
        node, plane = self.started()
        orgs = "".join(f"[orgs.o{number}]\nmax_sessions = 1\n" for number in range(1500))
        node.write_config("[rate]\namount = 2\n" + orgs)
        answer = plane.admin.Reload()
        self.assertEqual((answer.applied, len(answer.changes), answer.changed), (True, 1000, 1500))

    def test_a_restart_takes_what_waited_and_forgets_what_was_refused(self):
        node, plane = self.started()
        self.reload(node, '[node]\nname = "other"\n')
        self.reload(node, "rate = 5\n")
        self.assertShown(node, plane, refused=True, needs_restart=["node.name"])
        node.write_config('[node]\nname = "other"\n')
        node.kill()
        plane = self.plane(node.start())
        self.assertShown(node, plane, refused=False, needs_restart=[])
        self.assertEqual(plane.admin.GetNode().node, "other")

    def test_a_hangup_and_a_call_have_one_answer(self):
        node, plane = self.started()
        for text, refused, waiting in [
            ('[node]\nname = "other"\n', False, ["node.name"]),
            ("", True, ["node.name"]),
            ("[rate]\namount = 3\n", False, []),
        ]:
            with self.subTest(text):
                node.write_config(text)
                node.reload()
                eventually(lambda: bool(plane.admin.GetNode().reload_mistakes) == refused  # noqa: B023
                           and list(plane.admin.GetNode().needs_restart) == waiting, "the reload")  # noqa: B023
                self.assertShown(node, plane, refused, waiting)
                view, answer = plane.admin.GetNode(), plane.admin.Reload()
                self.assertEqual((answer.applied, list(answer.needs_restart)), (not refused, waiting))
                self.assertEqual(list(answer.mistakes), list(view.reload_mistakes))
                self.assertEqual(answer.config_generation, view.config_generation + (not refused))
                self.assertShown(node, plane, refused, waiting)

    def test_a_warning_is_shown_and_is_no_error(self):
        node, _ = self.started()
        done = self.reload(node, "[plans.unused]\n")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("plans.unused", done.stderr)

    def test_reloads_at_once_are_carried_out_one_after_the_other(self):
        node, plane = self.started()
        node.write_config("[rate]\namount = 1000\n")
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: plane.admin.Reload(), range(32)))
        self.assertTrue(all(answer.applied for answer in answers))
        # Who waits for the same reading has the same answer; each reading counts once.
        generations = sorted({answer.config_generation for answer in answers})
        self.assertEqual(generations, list(range(1, len(generations) + 1)))
        self.assertEqual(plane.admin.GetNode().config_generation, generations[-1])
        self.assertLess(len(generations), 32)
        self.assertEqual(len([line for line in node.log if "configuration reloaded" in line]), len(generations))

    def test_a_short_budget_for_decisions_is_none_for_reloads(self):
        node, plane = self.started(TOLLGATE__BOUNDS__DECISION_BUDGET_MS="100")
        node.write_config("[rate]\namount = 3\n")
        self.assertTrue(plane.admin.Reload().applied)

    def test_a_file_that_does_not_end_is_refused_in_time(self):
        clock = self.clock(minute=10)
        node, plane = self.started(clock=clock)
        os.remove(node.config_file)
        os.mkfifo(node.config_file)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(plane.admin.Reload)
            self.assertTrue(plane.gate.Acquire(org="acme").allowed, "calls are answered meanwhile")

            def answered():
                clock.step(31)
                return answer.done()

            eventually(answered, "it is refused")
        self.assertEqual((answer.result().applied, len(answer.result().mistakes)), (False, 1))
        self.assertIn("within 30s", answer.result().mistakes[0])
        again = plane.admin.Reload()
        self.assertIn("has not ended", again.mistakes[0])
        self.assertEqual(list(plane.admin.GetNode().reload_mistakes), list(again.mistakes))


if __name__ == "__main__":
    unittest.main()
