"""How nodes reach their database: through a pooler in transaction mode, and with TLS."""

import unittest

from cluster_case import PLENTY, ClusterCase, limited, orgs
from doors import Encrypted, PgBouncer

LIMIT = 40


class Reached(ClusterCase):
    """I1, I3, I6: whatever is in between"""

    def served(self, door):
        """Limits hold, a node is replaced, and nothing that was acknowledged is lost."""
        few, many = orgs(4, "few"), orgs(16, "many")
        limits = dict.fromkeys(few, LIMIT) | dict.fromkeys(many, PLENTY)
        cluster = self.cluster(door=door, config=limited(limits))
        before = cluster.epochs()
        crowd = self.crowd([node.grpc for node in cluster.nodes.values()], patience=120.0)
        self.loaded(crowd, few + many, few)
        died = cluster.kill("n3")
        cluster.wait_until_owned()
        self.until_answered(crowd, died, many)
        cluster.start("n3")
        cluster.restart("n1")
        cluster.wait_until_settled()
        self.until_denied(crowd, few)
        crowd.end()
        calls = crowd.history.calls
        takeovers = {org: count for org, count in cluster.changes(before).items() if count}
        self.assertHonest(cluster, calls, limits, takeovers, before, resumes=False)
        return cluster

    def test_through_a_pooler_in_transaction_mode(self):
        cluster = self.served(PgBouncer)
        warned = cluster.nodes["n2"].logged("statement_timeout is 0 ms")
        self.assertTrue(warned, "the pooler does not pass the bound on, and the role has none")
        cluster.cells[0].primary.ask("ALTER ROLE tollgate SET statement_timeout = '5s'")
        cluster.terminate("n2")
        # The pooler's own connections are older than the setting.
        cluster.cells[0].primary.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tollgate' AND pid <> pg_backend_pid()")
        lines = len(cluster.nodes["n2"].log)
        cluster.start("n2")
        self.assertEqual([line for line in cluster.nodes["n2"].log[lines:] if "statement_timeout" in line], [])

    def test_with_tls_and_a_certificate_that_is_verified(self):
        cluster = self.served(Encrypted)
        primary = cluster.cells[0].primary
        (ciphers,) = primary.ask("SELECT count(DISTINCT a.pid) = count(s.pid) FILTER (WHERE s.ssl) FROM pg_stat_activity AS a "
                                 "JOIN pg_stat_ssl AS s USING (pid) WHERE a.application_name = 'tollgate'")
        self.assertEqual(ciphers, "t", "every connection of a node is encrypted")
        node, url = cluster.nodes["n1"], cluster.cells[0].url
        for wrong, why in (
            (url.replace("/ca.pem", "/other.pem"), "invalid peer certificate: BadSignature"),
            (url.replace("/ca.pem", "/nowhere.pem"), "nowhere.pem: No such file"),
            (url.replace("127.0.0.1", "localhost"), "certificate not valid for name"),
            (url.partition("?")[0] + "?sslmode=disable", "no encryption"),
        ):
            refused = node.run("export", "--postgres", wrong)
            self.assertNotEqual(refused.returncode, 0, wrong)
            self.assertIn(why, refused.stderr)


if __name__ == "__main__":
    unittest.main()
