"""A plane with the TypeScript package goes on asking while every node of a cluster is replaced: no execution runs without a decision."""

import json
import os
import subprocess
import threading
import unittest

from cluster import size
from cluster_case import ClusterCase
from node import eventually
from test_typescript import PACKAGE, set_up

PER_SECOND = size("GUARDS_PER_SECOND", 300)
ORGS = 20
# Between two restarts, so that each node has decided before the next one goes.
DECIDED = 300


class Plane:
    """`load.js` as a process; what it says of itself is the number of executions that were admitted so far."""

    def __init__(self, urls):
        command = ["node", str(PACKAGE / ".test" / "load.js"), ",".join(urls), str(PER_SECOND), str(ORGS)]
        self._process = subprocess.Popen(command, cwd=PACKAGE, env=os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)
        self.admitted, self._said = 0, []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stderr:
            if line.strip().isdigit():
                self.admitted = int(line)
            else:
                self._said.append(line)

    def go_on(self, count=DECIDED):
        """Waits until so many more were admitted."""
        goal = self.admitted + count
        eventually(lambda: self.admitted >= goal or self._process.poll() is not None, f"{count} more are admitted", within=60.0)
        if self._process.poll() is not None:
            raise AssertionError("the plane has ended:\n" + "".join(self._said))

    def end(self):
        """What became of all executions."""
        self._process.stdin.close()
        answer = self._process.stdout.read()
        self._process.wait(60)
        self._reader.join(10)
        if not answer:
            raise AssertionError("the plane says nothing:\n" + "".join(self._said))
        return json.loads(answer)

    def close(self):
        self._process.kill()
        self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            pipe.close()


class TypeScriptPlane(ClusterCase):
    @classmethod
    def setUpClass(cls):
        set_up()

    def test_no_execution_runs_without_a_decision_while_nodes_are_replaced(self):
        cluster = self.cluster(nodes=3)
        plane = Plane([f"http://{node.grpc}" for node in cluster.nodes.values()])
        self.addCleanup(plane.close)
        plane.go_on()
        for name in cluster.nodes:
            cluster.restart(name)
            cluster.wait_until_owned()
            plane.go_on()
        stats = plane.end()
        self.say(f"{stats['started']} executions, {stats['retries']} retries, the slowest decision took {stats['slowestMs']:.0f} ms")
        self.assertEqual((stats["failOpen"], stats["reasons"]), (0, {}))
        self.assertEqual((stats["denied"], stats["refused"], stats["settlementsFailed"]), (0, 0, 0))
        self.assertEqual(stats["allowed"], stats["started"])
        self.assertGreater(stats["retries"], 0, "no restart was noticed")
        self.assertEqual(set(stats["nodes"]), set(cluster.nodes), "every node has decided")


if __name__ == "__main__":
    unittest.main()
