"""What callers cause is in the log once per org and window, with a count."""

from case import NodeCase
from node import eventually

SPEND = [{"meter": "spend", "amount": 1}]


class Repeated(NodeCase):
    """R-OPS-9"""

    def setUp(self):
        self.clock_ = self.clock(minute=10)
        self.node_ = self.node(clock=self.clock_)
        plane = self.plane(self.node_)
        self.gate, self.session, self.admin = plane.gate, plane.session, plane.admin

    def about(self, text, org):
        """The counts of these lines, `None` where a line has none."""
        lines = [self.node_.fields(line) for line in self.node_.logged(text)]
        return [line.get("times") for line in lines if line.get("org") == org]

    def all_withheld(self, text, org, count):
        eventually(lambda: self.about(text, org), f"the first line about {org}")
        self.assertEqual(self.about(text, org), [None], "written once")
        return lambda: self.about(text, org) == [None, count - 1]

    def test_usage_without_a_decision_and_long_executions_are_counted_and_not_repeated(self):
        unguarded, resumed = "no admission preceded", "resumed unusually often"
        for number in range(50):
            self.gate.Record(org="acme", request_id=str(number), usage=SPEND)
        self.gate.Record(org="other", request_id="1", usage=SPEND)
        for _ in range(140):
            self.gate.Resume(org="acme", execution_id="e")
        unusual = self.about(resumed, "acme")
        self.assertEqual(unusual, [None], "written once")
        told = self.all_withheld(unguarded, "acme", 50)
        self.clock_.step(61)
        eventually(told, "the count")
        eventually(lambda: len(self.about(resumed, "acme")) == 2, "the count of the other line")
        self.assertEqual(self.about(unguarded, "other"), [None], "nothing was withheld")

        # The window after it: what goes on is counted, and what has paused is written at once.
        for number in range(5):
            self.gate.Record(org="acme", request_id=f"later-{number}", usage=SPEND)
        self.gate.Record(org="other", request_id="2", usage=SPEND)
        eventually(lambda: self.about(unguarded, "other") == [None, None], "a line at once")
        self.assertEqual(self.about(unguarded, "acme"), [None, 49])
        self.clock_.step(61)
        eventually(lambda: self.about(unguarded, "acme") == [None, 49, 5], "the next count")

    def test_what_concerns_many_orgs_is_a_hundred_lines_and_a_count(self):
        unguarded = "no admission preceded"
        for number in range(150):
            self.gate.Record(org=f"org-{number}", request_id="1", usage=SPEND)
        eventually(lambda: len(self.node_.logged(unguarded)) >= 100, "the lines")
        self.clock_.step(61)
        counted = lambda: [line for line in map(self.node_.fields, self.node_.logged(unguarded)) if "times" in line]  # noqa: E731
        eventually(counted, "the count of the others")
        self.assertEqual([(line.get("org"), line["times"]) for line in counted()], [(None, 50)])
        self.assertEqual(len(self.node_.logged(unguarded)), 101)

    def test_a_node_that_stops_says_what_it_has_withheld(self):
        for number in range(20):
            self.session.StartSession(org="acme", session_id=f"s{number}", identity="i", request_id=str(number))
            self.session.EndSession(org="acme", session_id=f"s{number}", identity="i", request_id=f"e{number}")
        self.node_.stop()
        self.assertEqual(self.about("a session starts", "acme"), [None, 19])

    def test_what_operators_change_is_always_in_the_log(self):
        for number in range(5):
            self.admin.Freeze(org="acme", request_id=f"f{number}", reason="r")
            self.admin.Unfreeze(org="acme", request_id=f"u{number}")
        eventually(lambda: len(self.node_.logged('"operator"')) == 10, "a line for each change")


class Cut(NodeCase):
    """A kill may come in the middle of a line"""

    def test_the_start_after_a_kill_has_a_line_of_its_own(self):
        node = self.node()
        node.kill()
        cut = '{"message":"opera'
        with open(node.log_file, "a", encoding="utf-8") as log:
            log.write(cut)
        node.start()
        self.assertEqual([line for line in node.log if not node.fields(line)], [cut])
