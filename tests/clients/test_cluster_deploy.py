"""deploy/kubernetes: the files are valid by the schemas of Kubernetes, and fit together."""

import os
import re
import subprocess
import tempfile
import unittest

from balancer import parsed
from cluster import Authority
from node import BINARY, ROOT, Node

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.34"
# What a node needs after SIGTERM beside its own times: the last writes, and the exit.
TO_SPARE = 15


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.resources = {}
        for file in sorted(FOLDER.glob("*.yaml")):
            for each in parsed(file.read_text(encoding="utf-8")):
                cls.resources[each["kind"], each["metadata"]["name"]] = each
        cls.set = cls.resources["StatefulSet", "tollgate"]["spec"]
        cls.pod = cls.set["template"]["spec"]
        (cls.container,) = cls.pod["containers"]
        cls.toml = cls.resources["ConfigMap", "tollgate"]["data"]["tollgate.toml"]

    def number(self, key):
        return int(re.search(rf"^{key} = (\d+)$", self.toml, re.MULTILINE).group(1))

    def test_each_is_valid_by_its_schema(self):
        try:
            import kubernetes_validate
        except ImportError:
            self.skipTest("kubernetes-validate is missing: scripts/test cluster installs it")
        self.assertEqual(len(self.resources), 7)
        for name, each in self.resources.items():
            with self.subTest(name):
                kubernetes_validate.validate(each, VERSION, strict=True)
        wrong = {**self.resources["Service", "tollgate"], "spec": {"ports": [{"port": "many"}]}}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSION, strict=True)

    def test_probes_do_not_cascade(self):
        ready, alive = self.container["readinessProbe"], self.container["livenessProbe"]
        self.assertEqual(ready["httpGet"]["path"], "/readyz")
        # What asks PostgreSQL or other nodes restarts every node where those have trouble.
        self.assertEqual(alive["httpGet"]["path"], "/livez")
        self.assertGreaterEqual(alive["periodSeconds"] * alive["failureThreshold"], 60)
        self.assertNotIn("startupProbe", self.container)

    def test_there_is_time_to_drain(self):
        drain = (self.number("drain_notice_ms") + self.number("drain_ms")) / 1000
        self.assertGreaterEqual(self.pod["terminationGracePeriodSeconds"], drain + TO_SPARE)
        ready = self.container["readinessProbe"]
        noticed = ready["periodSeconds"] * ready["failureThreshold"]
        self.assertGreater(self.number("drain_notice_ms") / 1000, noticed, "balancers have noticed by then")

    def test_names_and_labels_fit_together(self):
        labels = self.set["template"]["metadata"]["labels"]
        selectors = [self.set["selector"]["matchLabels"]]
        selectors += [self.resources["Service", name]["spec"]["selector"] for name in ("tollgate", "tollgate-nodes")]
        selectors.append(self.resources["PodDisruptionBudget", "tollgate"]["spec"]["selector"]["matchLabels"])
        selectors.append(self.resources["NetworkPolicy", "tollgate"]["spec"]["podSelector"]["matchLabels"])
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels.items())
        self.assertEqual(self.set["serviceName"], "tollgate-nodes")
        self.assertEqual(self.resources["Service", "tollgate-nodes"]["spec"]["clusterIP"], "None")
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(set(ports), {"grpc", "http", "peer"})
        for name, port in ports.items():
            self.assertIn(f'{name} = "0.0.0.0:{port}"', self.toml)
        for name in ("tollgate", "tollgate-nodes"):
            for port in self.resources["Service", name]["spec"]["ports"]:
                self.assertIn(port["targetPort"], ports)

    def test_what_the_configuration_names_is_mounted(self):
        mounts = {mount["mountPath"] for mount in self.container["volumeMounts"]}
        volumes = {volume["name"] for volume in self.pod["volumes"]}
        self.assertEqual({mount["name"] for mount in self.container["volumeMounts"]}, volumes)
        for path in re.findall(r"/etc/tollgate/[\w./]+", self.toml):
            self.assertIn(os.path.dirname(path), mounts, path)

    def test_the_password_is_in_no_file_but_the_secret(self):
        environment = {each["name"]: each for each in self.container["env"]}
        asked = environment["PGPASSWORD"]["valueFrom"]["secretKeyRef"]
        secret = self.resources["Secret", asked["name"]]
        self.assertIn(asked["key"], secret["stringData"])
        self.assertNotRegex(self.toml, r"postgres://[^@/]*:[^@/]*@")
        own = {name for name in environment if name.startswith(("TOLLGATE__CLUSTER", "TOLLGATE__NODE"))}
        self.assertEqual(own, {"TOLLGATE__NODE__NAME", "TOLLGATE__CLUSTER__ADVERTISE"})

    def test_the_node_takes_the_configuration(self):
        with tempfile.TemporaryDirectory(prefix="tollgate-deploy-") as folder:
            checked = self.checked(folder, self.toml)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def checked(self, folder, toml):
        """What the node says of a configuration whose files are in this folder."""
        for name in ("tls", "nodes", "postgres"):
            os.mkdir(os.path.join(folder, name))
        section = Authority().written(os.path.join(folder, "nodes"), "n1", ["127.0.0.1"])
        paths = dict(re.findall(r'^(cert|key|ca) = "(.*)"$', section, re.MULTILINE))
        for there, kind in (("tls/tls.crt", "cert"), ("tls/tls.key", "key"), ("nodes/tls.crt", "cert"),
                            ("nodes/tls.key", "key"), ("nodes/ca.crt", "ca"), ("postgres/ca.crt", "ca")):
            with open(paths[kind], "rb") as source, open(os.path.join(folder, there), "wb") as target:
                target.write(source.read())
        # The pod says these two.
        toml = toml.replace("[cluster]\n", '[node]\nname = "tollgate-0"\n[cluster]\nadvertise = "10.0.0.1:7072"\n', 1)
        file = os.path.join(folder, "tollgate.toml")
        with open(file, "w", encoding="utf-8") as out:
            out.write(toml.replace("/etc/tollgate/", folder + "/"))
        node = Node()
        try:
            return subprocess.run([str(BINARY), "check-config", file], env=node.environ(), capture_output=True, text=True,
                                  timeout=30, check=False)
        finally:
            node.close()


if __name__ == "__main__":
    unittest.main()
