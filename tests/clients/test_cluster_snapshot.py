"""`tollgate snapshot` of a cluster: each org from the node that owns it, also where that changes meanwhile."""

import os
import subprocess
import tempfile
import threading
import unittest

from cluster_case import ClusterCase
from node import BINARY, Node, eventually
from test_snapshot import LARGE, LARGE_CALLS, SPEND, Load, filled

ORGS = [f"org-{number}" for number in range(24)]


class OfCluster(ClusterCase):
    """R-OPS-13"""

    def counted(self, plane, org):
        (row,) = [row for row in plane.admin.Usage(org=org, by=1, scope="").rows if row.meter == "spend"]
        return row.amount

    def test_a_cluster_under_load_that_hands_over_goes_into_a_directory_and_into_another_cluster(self):
        cluster = self.cluster()
        plane = cluster.plane("n1")
        filled(plane)
        # Each call is repeated until it is answered: owners change.
        load = Load(plane, ORGS)
        eventually(lambda: all(len(ids) > 2 for ids in load.so_far().values()), "every caller is answered", 60)
        before = load.so_far()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        file = os.path.join(directory.name, "orgs.jsonl")
        handing_over = threading.Thread(target=cluster.drain, args=("n3",))
        handing_over.start()
        asked = cluster.nodes["n2"]
        answer = asked.run("snapshot", file, "--addr", asked.grpc, "--timeout", "10s")
        handing_over.join(60)
        load.end()
        self.assertEqual(answer.returncode, 0, answer.stderr)

        alone = Node(config="")
        self.addCleanup(alone.close)
        imported = alone.run("import", "--data-dir", alone.data_dir, file)
        self.assertEqual(imported.returncode, 0, imported.stderr)
        checked = alone.run("fsck", "--data-dir", alone.data_dir)
        self.assertTrue(checked.stdout.endswith("clean\n"), checked.stdout)

        def into_postgres(cells):
            command = [str(BINARY), "import", "--postgres", cells[0].url, file]
            environment = asked.environ() | cells[0].primary.environment
            moved = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(moved.returncode, 0, moved.stderr)

        other = self.cluster(nodes=2, prepare=into_postgres)
        plane = other.plane("n1")
        audit = plane.admin.Audit(page_size=1000)
        self.assertEqual((audit.orgs, audit.drifted, len(audit.failures)), (len(ORGS) + 1, 0, 0))
        self.assertEqual(self.counted(plane, LARGE), LARGE_CALLS)
        for org, ids in before.items():
            count = self.counted(plane, org)
            self.assertTrue(len(ids) <= count <= load.sent[org], (org, len(ids), count, load.sent[org]))
            for request_id in ids:
                self.assertTrue(plane.gate.Record(org=org, request_id=request_id, usage=SPEND).replayed, request_id)


if __name__ == "__main__":
    unittest.main()
