"""`tollgate snapshot`: what a running node stores, in a file, while calls are served."""

import hashlib
import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from case import NodeCase, fresh
from node import BINARY, STOP_WITHIN, eventually
from plane import refusal

SPEND = [{"meter": "spend", "amount": 1}]
ORGS = [f"org-{number}" for number in range(12)]
# More than one answer has of it.
LARGE, LARGE_CALLS = "large", 3_000
CONFIG = '[rate]\namount = 100000000\n'


def filled(plane, org=LARGE, calls=LARGE_CALLS):
    """An org with that many request ids that are remembered for a day."""
    def record(number):
        plane.gate.Record(org=org, request_id=f"{org}-before-{number:06}-{'x' * 90}", usage=SPEND)

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(record, range(calls)))


class Load:
    """Callers that record until they are told to stop, and what was acknowledged to them."""

    def __init__(self, plane, orgs):
        self._plane, self._stop = plane, threading.Event()
        self.sent = dict.fromkeys(orgs, 0)
        self.acknowledged = {org: [] for org in orgs}
        self._threads = [threading.Thread(target=self._run, args=(org,)) for org in orgs]
        for thread in self._threads:
            thread.start()

    def _run(self, org):
        while not self._stop.is_set():
            self.sent[org] += 1
            request_id = f"{org}-{self.sent[org]}"
            self._plane.gate.Record(org=org, request_id=request_id, usage=SPEND)
            self.acknowledged[org].append(request_id)
            self._plane.gate.Acquire(org=org)

    def so_far(self):
        return {org: list(ids) for org, ids in self.acknowledged.items()}

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


class Snapshot(NodeCase):
    """R-OPS-13"""

    def setUp(self):
        self.running = self.node(config=CONFIG)
        self.calls = self.plane(self.running)
        self.file = os.path.join(os.path.dirname(self.running.config_file), "orgs.jsonl")

    def taken(self):
        answer = self.running.run("snapshot", self.file, "--addr", self.running.grpc)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return answer

    def restored_from_file(self):
        """A node that has what is in the file, and nothing that does not fit together."""
        new = self.node(start=False, config=CONFIG)
        imported = new.run("import", "--data-dir", new.data_dir, self.file)
        self.assertEqual(imported.returncode, 0, imported.stderr)
        self.assertNotIn("warning", imported.stderr)
        checked = new.run("fsck", "--data-dir", new.data_dir)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        self.assertTrue(checked.stdout.endswith("clean\n"), checked.stdout)
        plane = self.plane(new.start())
        audit = plane.admin.Audit(page_size=1000)
        self.assertEqual((audit.drifted, len(audit.failures)), (0, 0))
        return plane

    def count_of(self, plane, org):
        (row,) = [row for row in plane.admin.Usage(org=org, by=1, scope="").rows if row.meter == "spend"]
        return row.amount

    def test_under_load_each_org_is_as_of_one_commit_with_all_that_was_acknowledged_before(self):
        filled(self.calls)
        load = Load(self.calls, [*ORGS, LARGE])
        eventually(lambda: all(len(ids) > 5 for ids in load.so_far().values()), "every caller is answered")
        before = load.so_far()
        self.taken()
        load.end()
        plane = self.restored_from_file()
        for org, ids in before.items():
            others = LARGE_CALLS if org == LARGE else 0
            count = self.count_of(plane, org)
            self.assertGreaterEqual(count, others + len(ids), org)
            self.assertLessEqual(count, others + load.sent[org], org)
            for request_id in ids:
                again = plane.gate.Record(org=org, request_id=request_id, usage=SPEND)
                self.assertTrue(again.replayed, request_id)
            self.assertEqual(self.count_of(plane, org), count, "nothing is counted twice")

    def test_what_is_written_is_in_one_file_that_only_its_user_reads(self):
        self.calls.gate.Record(org="acme", request_id="1", usage=SPEND)
        answer = self.taken()
        with open(self.file, encoding="utf-8") as file:
            lines = file.readlines()
        self.assertIn(f"{len(lines) - 2} rows written", answer.stderr)
        self.assertEqual(json.loads(lines[0])["format"], "tollgate-export")
        end = json.loads(lines[-1])["end"]
        self.assertEqual(end["sha256"], hashlib.sha256("".join(lines[:-1]).encode()).hexdigest())
        self.assertEqual(sum(end["lines"].values()), len(lines) - 2)
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        self.assertEqual([name for name in os.listdir(os.path.dirname(self.file)) if name.endswith(".part")], [])
        again = self.running.run("snapshot", self.file, "--addr", self.running.grpc)
        self.assertEqual(again.returncode, 1)
        self.assertIn("it exists, and is not overwritten", again.stderr)

    def test_a_node_without_orgs_has_a_snapshot_too(self):
        self.taken()
        plane = self.restored_from_file()
        self.assertEqual(len(plane.admin.ListOrgs(page_size=10).orgs), 0)

    def test_a_node_that_is_killed_meanwhile_leaves_no_file(self):
        for number in range(2):
            filled(self.calls, f"{LARGE}-{number}")
        command = [str(BINARY), "snapshot", self.file, "--addr", self.running.grpc]
        process = subprocess.Popen(command, env=self.running.environ(), stderr=subprocess.PIPE, text=True)
        part = f"{self.file}.{process.pid}.part"
        eventually(lambda: os.path.exists(part) and os.path.getsize(part) > 2048, "some lines are there")
        self.running.kill()
        _, said = process.communicate(timeout=STOP_WITHIN)
        self.assertEqual(process.returncode, 1, said)
        self.assertIn("was not written: the snapshot is incomplete", said)
        self.assertEqual([name for name in os.listdir(os.path.dirname(self.file)) if "orgs.jsonl" in name], [])
        self.running.start()
        self.taken()
        plane = self.restored_from_file()
        self.assertEqual(self.count_of(plane, f"{LARGE}-1"), LARGE_CALLS)


class Pages(NodeCase):
    """R-OPS-13, as somebody reads it who has only the protos"""

    def setUp(self):
        self.running = self.node(config=CONFIG)
        self.calls = self.plane(self.running)

    def refused(self, code, reason, **fields):
        error = refusal(self.calls.admin.Snapshot, **fields)
        self.assertEqual((error.code, error.reason), (code, reason))
        return error

    def pages(self, **fields):
        token = ""
        while True:
            page = self.calls.admin.Snapshot(page_token=token, **fields)
            self.assertEqual(page.sha256, hashlib.sha256(page.lines).digest())
            self.assertEqual(page.line_count, page.lines.count(b"\n"))
            yield page
            token = page.next_page_token
            if not token:
                return

    def test_a_large_org_is_as_of_its_first_page_whatever_is_decided_until_the_last(self):
        filled(self.calls)
        rows, many = [], 0
        for page in self.pages(org=LARGE):
            rows += map(json.loads, page.lines.splitlines())
            many += 1
            for _ in range(20):
                self.calls.gate.Record(org=LARGE, request_id=fresh(), usage=SPEND)
        self.assertGreater(many, 1, "the org fits into one page, so this test is blind")
        self.assertTrue(page.first_line.startswith(b'{"format":"tollgate-export"'))
        (head,) = [row for row in rows if row["kind"] == "head"]
        ids = [row["id"] for row in rows if row["kind"] == "request_id"]
        self.assertEqual((len(ids), len(set(ids))), (LARGE_CALLS, LARGE_CALLS))
        self.assertIn(str(LARGE_CALLS), json.dumps(head["value"]), "as many as the head of the same commit says")

    def test_the_same_page_is_given_once_more_and_an_older_one_is_refused(self):
        filled(self.calls)
        first = self.calls.admin.Snapshot(org=LARGE)
        self.assertTrue(first.org_continues)
        second = self.calls.admin.Snapshot(org=LARGE, page_token=first.next_page_token)
        self.assertEqual(self.calls.admin.Snapshot(org=LARGE, page_token=first.next_page_token).lines, second.lines)
        head, _, piece = first.next_page_token.rpartition(" ")
        older = f"{head} {int(piece) + 7}"
        self.refused(grpc.StatusCode.ABORTED, "SNAPSHOT_BROKEN", org=LARGE, page_token=older)

    def test_an_org_that_is_purged_meanwhile_is_to_be_begun_again(self):
        filled(self.calls)
        first = self.calls.admin.Snapshot(org=LARGE)
        self.assertTrue(first.org_continues)
        self.calls.admin.PurgeOrg(org=LARGE, request_id="p")
        token = first.next_page_token
        self.refused(grpc.StatusCode.ABORTED, "SNAPSHOT_BROKEN", org=LARGE, page_token=token)

    def test_only_so_many_orgs_are_read_at_a_time_and_none_is_begun_that_does_not_fit(self):
        filled(self.calls)
        whole = self.calls.admin.Snapshot(org=LARGE, whole=True)
        self.assertEqual((whole.line_count, whole.org_continues), (0, True))
        for _ in range(8):
            self.assertTrue(self.calls.admin.Snapshot(org=LARGE).org_continues)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "SNAPSHOTS_OPEN", org=LARGE)

    def test_what_is_wrong_is_named(self):
        self.refused(grpc.StatusCode.NOT_FOUND, "ORG_UNKNOWN", org="nobody")
        for fields, named in (
            ({"org": "a b"}, "org"), ({"page_token": "x"}, "page_token"), ({"whole": True}, "whole"),
            ({"org": "acme", "page_token": "- 0 0 other 1 1"}, "page_token"),
        ):
            error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", **fields)
            self.assertIn(named, error.message)
