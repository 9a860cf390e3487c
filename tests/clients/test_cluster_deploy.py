"""deploy/kubernetes: what kustomize makes of each overlay is valid by the schemas of Kubernetes, and fits together."""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from balancer import parsed
from cluster import Authority
from node import BINARY, ROOT, Node

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.34"
# The profile "restricted" lets a pod have these.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def kubectl():
    found = shutil.which("kubectl", path=f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
    if found is None:
        raise unittest.SkipTest("kubectl is missing: scripts/test cluster installs it")
    return found


@functools.cache
def rendered(folder):
    """The resources that `kubectl apply -k` would send."""
    made = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False)
    if made.returncode:
        raise AssertionError(made.stderr)
    return parsed(made.stdout)


class Overlay:
    """What holds for each of them."""

    NAME = ""
    KINDS = {}
    PORTS = set()

    @classmethod
    def setUpClass(cls):
        all_of_them = rendered(FOLDER / "overlays" / cls.NAME)
        cls.resources = {(each["kind"], re.sub("-[a-z0-9]{10}$", "", each["metadata"]["name"])): each for each in all_of_them}
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
        self.assertEqual({kind for kind, _ in self.resources}, self.KINDS)
        for name, each in self.resources.items():
            with self.subTest(name):
                kubernetes_validate.validate(each, VERSION, strict=True)
        wrong = {**self.resources["Service", "tollgate"], "spec": {"ports": [{"port": "many"}]}}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSION, strict=True)

    def test_the_profile_restricted_takes_the_pod(self):
        of_pod, own = self.pod["securityContext"], self.container["securityContext"]
        self.assertTrue(of_pod["runAsNonRoot"])
        self.assertEqual(of_pod["seccompProfile"]["type"], "RuntimeDefault")
        self.assertEqual((own["allowPrivilegeEscalation"], own["capabilities"]), (False, {"drop": ["ALL"]}))
        self.assertTrue(own["readOnlyRootFilesystem"])
        self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(self.pod))
        self.assertLessEqual({key for each in self.pod["volumes"] for key in each if key != "name"}, VOLUMES)
        # The user of the image, so that the volume is its own.
        user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8"), re.M)
        self.assertEqual([of_pod["runAsUser"], of_pod["runAsGroup"], of_pod["fsGroup"]], [int(user[1]), int(user[2]), int(user[2])])

    def test_probes_do_not_cascade(self):
        ready, alive = self.container["readinessProbe"], self.container["livenessProbe"]
        self.assertEqual(ready["httpGet"]["path"], "/readyz")
        # What asks PostgreSQL or other nodes restarts every node where those have trouble.
        self.assertEqual(alive["httpGet"]["path"], "/livez")
        self.assertGreaterEqual(alive["periodSeconds"] * alive["failureThreshold"], 60)

    def test_there_is_time_to_drain(self):
        longest = (self.number("drain_notice_ms") + 2 * self.number("drain_ms")) / 1000 + 30
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], longest)
        ready = self.container["readinessProbe"]
        noticed = ready["periodSeconds"] * ready["failureThreshold"]
        self.assertGreater(self.number("drain_notice_ms") / 1000, noticed, "balancers have noticed by then")

    def test_a_wrong_configuration_does_not_keep_the_right_one_out(self):
        """With OrderedReady a pod that never gets ready is not replaced: kubernetes/kubernetes#67250."""
        self.assertEqual(self.set["podManagementPolicy"], "Parallel")

    def test_names_and_labels_fit_together(self):
        labels = self.set["template"]["metadata"]["labels"]
        selectors = [self.set["selector"]["matchLabels"]]
        selectors += [self.resources["Service", name]["spec"]["selector"] for name in ("tollgate", "tollgate-nodes")]
        selectors.append(self.resources["NetworkPolicy", "tollgate"]["spec"]["podSelector"]["matchLabels"])
        if ("PodDisruptionBudget", "tollgate") in self.resources:
            selectors.append(self.resources["PodDisruptionBudget", "tollgate"]["spec"]["selector"]["matchLabels"])
        selectors += [each["labelSelector"]["matchLabels"] for each in self.pod.get("topologySpreadConstraints", ())]
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels.items())
        self.assertEqual(self.set["serviceName"], "tollgate-nodes")
        self.assertEqual(self.resources["Service", "tollgate-nodes"]["spec"]["clusterIP"], "None")
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(set(ports), self.PORTS)
        for name, port in ports.items():
            self.assertIn(f'{name} = "0.0.0.0:{port}"', self.toml)
        named = [port["targetPort"] for name in ("tollgate", "tollgate-nodes") for port in self.resources["Service", name]["spec"]["ports"]]
        named += [port["port"] for rule in self.resources["NetworkPolicy", "tollgate"]["spec"]["ingress"] for port in rule["ports"]]
        self.assertEqual(set(named), set(ports))

    def test_a_change_of_the_configuration_makes_pods_anew(self):
        (volume,) = [each for each in self.pod["volumes"] if each["name"] == "configuration"]
        self.assertEqual(volume["configMap"]["name"], self.resources["ConfigMap", "tollgate"]["metadata"]["name"])
        self.assertNotEqual(volume["configMap"]["name"], "tollgate", "it has the hash of its content")

    def test_what_the_configuration_names_is_mounted(self):
        mounts = {mount["mountPath"] for mount in self.container["volumeMounts"]}
        volumes = {volume["name"] for volume in self.pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in self.set.get("volumeClaimTemplates", ())}
        self.assertEqual({mount["name"] for mount in self.container["volumeMounts"]}, volumes)
        for path in re.findall(r"/(?:etc/tollgate|data)/[\w./]+", self.toml):
            self.assertIn(os.path.dirname(path), mounts, path)

    def test_there_is_no_secret_in_a_file(self):
        self.assertNotIn("Secret", {kind for kind, _ in self.resources})
        for file in FOLDER.rglob("*"):
            if file.is_file():
                self.assertNotRegex(file.read_text(encoding="utf-8"), r"stringData|postgres://[^@/\s]*:[^@/\s]*@|BEGIN .*PRIVATE")

    def test_each_secret_is_made_by_a_command_that_the_overlay_shows(self):
        shown = (FOLDER / "overlays" / self.NAME / "kustomization.yaml").read_text(encoding="utf-8")
        asked = {each["secret"]["secretName"] for each in self.pod["volumes"] if "secret" in each}
        asked |= {each["valueFrom"]["secretKeyRef"]["name"] for each in self.container["env"] if "secretKeyRef" in each.get("valueFrom", {})}
        self.assertEqual(set(re.findall(r"create secret \w+ (\S+)", shown)), asked)

    def test_the_node_takes_the_configuration(self):
        with tempfile.TemporaryDirectory(prefix="tollgate-deploy-") as folder:
            checked = self.checked(folder, self.toml)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertNotIn("warning", checked.stderr)

    def mode_of(self, path):
        """What a file of a secret is mounted with; `None` where this overlay mounts no such file."""
        mounted = [mount["name"] for mount in self.container["volumeMounts"] if mount["mountPath"] == os.path.dirname(path)]
        secrets = {volume["name"]: volume["secret"] for volume in self.pod["volumes"] if "secret" in volume}
        return secrets[mounted[0]]["defaultMode"] if mounted else None

    def checked(self, folder, toml):
        """What the node says of a configuration whose files are in this folder."""
        for name in ("tls", "nodes", "postgres", "tokens"):
            os.mkdir(os.path.join(folder, name))
        section = Authority().written(os.path.join(folder, "nodes"), "n1", ["127.0.0.1"])
        paths = dict(re.findall(r'^(cert|key|ca) = "(.*)"$', section, re.MULTILINE))
        for there, kind in (("tls/tls.crt", "cert"), ("tls/tls.key", "key"), ("nodes/tls.crt", "cert"),
                            ("nodes/tls.key", "key"), ("nodes/ca.crt", "ca"), ("postgres/ca.crt", "ca")):
            with open(paths[kind], "rb") as source, open(os.path.join(folder, there), "wb") as target:
                target.write(source.read())
            mode = self.mode_of(f"/etc/tollgate/{there}")
            if mode:
                os.chmod(target.name, mode)
        subprocess.run([str(BINARY), "token", "create", "--file", os.path.join(folder, "tokens", "tokens.toml"), "--name", "ops",
                        "--role", "admin", "--orgs", "*", "--expires", "1h"], check=True, capture_output=True, timeout=30)
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


class Cluster(Overlay, unittest.TestCase):
    NAME = "cluster"
    KINDS = {"ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"}
    PORTS = {"grpc", "http", "peer"}

    def test_only_nodes_reach_the_port_of_nodes(self):
        rules = self.resources["NetworkPolicy", "tollgate"]["spec"]["ingress"]
        for rule in rules:
            is_peer = {"port": "peer"} in rule["ports"]
            self.assertEqual(is_peer, "from" in rule, rule)

    def test_what_a_pod_says_of_itself_comes_from_its_environment(self):
        names = [each["name"] for each in self.container["env"]]
        own = {name for name in names if name.startswith(("TOLLGATE__CLUSTER", "TOLLGATE__NODE"))}
        self.assertEqual(own, {"TOLLGATE__NODE__NAME", "TOLLGATE__CLUSTER__ADVERTISE"})
        self.assertLess(names.index("POD_IP"), names.index("TOLLGATE__CLUSTER__ADVERTISE"), "a variable is known behind its line")

    def test_it_survives_a_machine(self):
        self.assertGreaterEqual(self.set["replicas"], 3)
        self.assertEqual(self.resources["PodDisruptionBudget", "tollgate"]["spec"]["maxUnavailable"], 1)
        self.assertEqual(self.resources["PodDisruptionBudget", "tollgate"]["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow")
        self.assertEqual([each["topologyKey"] for each in self.pod["topologySpreadConstraints"]],
                         ["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
        self.assertNotIn("startupProbe", self.container, "there is no directory to open")


class Single(Overlay, unittest.TestCase):
    NAME = "single"
    KINDS = {"ConfigMap", "NetworkPolicy", "Service", "StatefulSet"}
    PORTS = {"grpc", "http"}

    def test_one_process_has_the_volume_and_the_time_to_open_it(self):
        self.assertEqual(self.set["replicas"], 1)
        (claim,) = self.set["volumeClaimTemplates"]
        self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteOncePod"])
        self.assertEqual(self.set["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Retain")
        starting = self.container["startupProbe"]
        unit = (ROOT / "deploy" / "tollgate.service").read_text(encoding="utf-8")
        within = int(re.search(r"^TimeoutStartSec=(\d+)$", unit, re.MULTILINE)[1])
        self.assertGreaterEqual(starting["periodSeconds"] * starting["failureThreshold"], within)


class Monitoring(unittest.TestCase):
    def test_it_finds_the_pods(self):
        with tempfile.TemporaryDirectory(prefix="tollgate-deploy-") as folder:
            # An overlay of somebody else, who names ours by a path that is relative.
            here = os.path.relpath(FOLDER, os.path.realpath(folder))
            text = (f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{here}/overlays/cluster]\n"
                    f"components: [{here}/components/monitoring]\n")
            pathlib.Path(folder, "kustomization.yaml").write_text(text, encoding="utf-8")
            resources = {(each["kind"], each["metadata"]["name"]): each for each in rendered(folder)}
        monitor = resources["ServiceMonitor", "tollgate"]["spec"]
        service = resources["Service", "tollgate-nodes"]
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), service["metadata"]["labels"].items())
        (endpoint,) = monitor["endpoints"]
        self.assertIn(endpoint["port"], [port["name"] for port in service["spec"]["ports"]])
        self.assertEqual((endpoint["path"], endpoint["scheme"]), ("/metrics", "https"))


if __name__ == "__main__":
    unittest.main()
