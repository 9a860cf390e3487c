"""Export and import: a dump that is not what was written is never taken for whole."""

import json
import os

from case import NodeCase

CONFIG = '[orgs."acme"]\nspend = { monthly = "1000u" }\n'


class Import(NodeCase):
    """R-OPS-8"""

    def setUp(self):
        self.old = self.node(config=CONFIG)
        plane = self.plane(self.old)
        for number in range(5):
            spend = [{"meter": "spend", "amount": 100}]
            plane.gate.Record(org="acme", request_id=str(number), usage=spend)
        plane.gate.Acquire(org="acme", reserve=[{"meter": "spend", "amount": 7}])
        plane.close()
        self.assertEqual(self.old.stop(), 0)
        answer = self.old.run("export", "--data-dir", self.old.data_dir)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.lines = answer.stdout.splitlines(keepends=True)
        self.new = self.node(start=False, config=CONFIG)
        os.mkdir(self.new.data_dir)

    def imported(self, text, *flags, node=None):
        node = node or self.new
        file = os.path.join(os.path.dirname(node.config_file), "export.jsonl")
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        return node.run("import", "--data-dir", node.data_dir, *flags, file)

    def refused(self, text, said, *flags):
        answer = self.imported(text, *flags)
        self.assertEqual(answer.returncode, 1, answer.stderr)
        self.assertIn(said, answer.stderr)
        self.assertEqual(os.listdir(self.new.data_dir), [], "an empty directory is as it was")

    def test_a_line_that_is_missing_is_named_and_the_whole_export_is_still_imported_afterwards(self):
        for at, line in enumerate(self.lines[1:-1], start=1):
            kind = json.loads(line)["kind"]
            with self.subTest(kind):
                self.refused("".join(self.lines[:at] + self.lines[at + 1:]), f'lines of kind "{kind}"')
        answer = self.imported("".join(self.lines))
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn(f"{len(self.lines) - 2} rows imported", answer.stderr)
        status = self.plane(self.new.start()).gate.GetStatus(org="acme")
        self.assertEqual([(each.used, each.reserved) for each in status.limits if each.meter == "spend"], [(500, 7)])

    def test_a_changed_line_and_a_cut_file_are_refused(self):
        slice_at = next(at for at, line in enumerate(self.lines) if '"meter":"spend","start"' in line)
        other = list(self.lines)
        other[slice_at] = other[slice_at].replace('"total":500', '"total":0').replace(",500]", ",0]")
        self.assertNotEqual(other, self.lines)
        self.refused("".join(other), "SHA-256")
        whole = "".join(self.lines)
        for keep in (0.3, 0.6, 0.9):
            self.refused(whole[:int(len(whole) * keep)], "cut short")
        self.refused("".join(self.lines[:-1]), "no closing line")
        self.refused("".join(self.lines[:4]), "no closing line")
        self.refused(whole + self.lines[slice_at], "behind the closing line")

    def test_an_export_of_an_older_tollgate_needs_the_flag(self):
        older = [self.lines[0].replace('"version":2', '"version":1'), *self.lines[1:-1]]
        self.refused("".join(older), "--accept-unclosed")
        answer = self.imported("".join(older), "--accept-unclosed")
        self.assertEqual(answer.returncode, 0, answer.stderr)

    def test_what_does_not_add_up_is_refused_unless_that_is_accepted(self):
        without = [line for line in self.lines[:-1] if '"kind":"timer"' not in line]
        self.assertLess(len(without), len(self.lines) - 1)
        self.refused("".join(without), "--accept-damage", "--accept-unclosed")
        answer = self.imported("".join(without), "--accept-unclosed", "--accept-damage")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("warning: acme: ", answer.stderr)
