"""What is stored, moved into PostgreSQL: people ask it with SQL, and it is the same when it comes back."""

import os
import pathlib
import unittest

from case import NodeCase, fresh
from postgres import PASSWORD, Postgres

CONFIG = '[orgs."acme"]\nspend = { monthly = "1000u" }\n'


class Moved(NodeCase):
    """R-OPS-8"""

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres()
        cls.addClassCleanup(cls.postgres.close)

    def exported(self):
        """The export of a node that has served, and where it served."""
        node = self.node(config=CONFIG, environment=self.postgres.environment)
        plane = self.plane(node)
        for number in range(5):
            spend = [{"meter": "spend", "amount": 100}]
            plane.gate.Record(org="acme", request_id=str(number), usage=spend, scopes=["user:ann"])
        plane.gate.Acquire(org="acme", request_id=fresh(), reserve=[{"meter": "spend", "amount": 7}])
        self.assertTrue(plane.session.StartSession(org="acme", request_id=fresh(), session_id="s-1", identity="vm").allowed)
        plane.admin.Freeze(org="idle", request_id=fresh(), reason="see ticket 7")
        plane.close()
        self.assertEqual(node.stop(), 0)
        answer = node.run("export", "--data-dir", node.data_dir)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return node, answer.stdout

    def imported(self, node, text, schema):
        file = pathlib.Path(node.config_file).with_name("export.jsonl")
        file.write_text(text, encoding="utf-8")
        return node.run("import", "--postgres", f"{self.postgres.url}&schema={schema}", str(file))

    def test_it_is_asked_with_sql_and_comes_back_as_it_was(self):
        node, text = self.exported()
        answer = self.imported(node, text, "first")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn(f"{len(text.splitlines()) - 2} rows imported", answer.stderr)
        for sql, rows in [
            ("SELECT org, scope, sum(amount) FROM first.ledger_hours WHERE meter = 'spend' GROUP BY 1, 2 ORDER BY 1, 2",
             ["acme||500", "acme|user:ann|500"]),
            ("SELECT org, frozen_reason FROM first.orgs ORDER BY org", ["acme|", "idle|see ticket 7"]),
            ("SELECT org, session, state FROM first.sessions", ["acme|s-1|running"]),
            # That of the call, and the first slice of the session.
            ("SELECT count(*) FROM first.reservation WHERE org = 'acme'", ["2"]),
        ]:
            with self.subTest(sql):
                self.assertEqual(self.postgres.ask(sql), rows)
        answer = node.run("export", "--postgres", f"{self.postgres.url}&schema=first")
        self.assertEqual((answer.returncode, answer.stdout), (0, text), answer.stderr)
        back = self.node(start=False, config=CONFIG)
        os.mkdir(back.data_dir)
        file = pathlib.Path(back.config_file).with_name("back.jsonl")
        file.write_text(answer.stdout, encoding="utf-8")
        self.assertEqual(back.run("import", "--data-dir", back.data_dir, str(file)).returncode, 0)
        plane = self.plane(back.start())
        status = plane.gate.GetStatus(org="acme")
        (spend,) = [limit for limit in status.limits if limit.meter == "spend"]
        self.assertEqual((spend.used, spend.reserved), (500, 7))

    def test_rows_that_are_there_are_not_overwritten_and_a_cut_export_leaves_nothing(self):
        node, text = self.exported()
        lines = text.splitlines(keepends=True)
        cut = self.imported(node, "".join(lines[:-2]), "second")
        self.assertEqual(cut.returncode, 1, cut.stderr)
        self.assertEqual(self.postgres.ask("SELECT count(*) FROM second.head"), ["0"])
        self.assertEqual(self.imported(node, text, "second").returncode, 0)
        again = self.imported(node, text, "second")
        self.assertEqual(again.returncode, 1)
        self.assertIn("schema second is not empty", again.stderr)
        back = node.run("export", "--postgres", f"{self.postgres.url}&schema=second")
        self.assertEqual((back.returncode, back.stdout), (0, text))

    def test_what_cannot_be_reached_is_named_and_no_password_is_shown(self):
        node, text = self.exported()
        wrong = {"PGPASSWORD": "wrong: " + PASSWORD}
        node.environment = wrong
        refused = self.imported(node, text, "third")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("password authentication failed", refused.stderr)
        node.environment = self.postgres.environment
        for url, said in [
            ("mysql://127.0.0.1/x", 'scheme "mysql"'),
            (self.postgres.url + "&schema=A-b", 'schema "A-b" is not allowed'),
            (self.postgres.url.replace(str(self.postgres.port), "1"), "PostgreSQL"),
        ]:
            with self.subTest(url):
                refused = node.run("export", "--postgres", url)
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn(said, refused.stderr)
                self.assertNotIn(PASSWORD, refused.stderr + refused.stdout)


if __name__ == "__main__":
    unittest.main()
