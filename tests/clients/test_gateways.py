"""Real proxies that ask tollgate before each request, and what they are answered: R-REACH-2, R-REACH-3.

Envoy by its rate-limit filter; nginx and Caddy by forward authentication.
"""

import collections
import concurrent.futures
import subprocess
import unittest

import grpc

from case import NodeCase, SharedNodeCase, fresh
from connect import Connect
from node import eventually
from plane import metric
from proxies import Application, Caddy, Envoy, Nginx, got

ASK = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
FORWARD = "/v1/forward-auth"
LIMIT = 20
QUOTA = "quota/executions/calendar/day"
CONFIG = f"""
[plans.free]
rate = {{ amount = 1000, window = {{ aligned = "24h" }} }}
executions = {{ calendar_day = {LIMIT} }}
scopes = {{ "workspace/*" = {{ executions = {{ calendar_month = 5 }} }} }}
[defaults]
plan = "free"
[orgs.slow]
plan = ""
rate = {{ amount = 2, window = {{ aligned = "24h" }} }}

[envoy.edge]
org = "org"
scopes = {{ workspace = "workspace" }}
request_id = "id"
[envoy.shadow]
org = "org"
shadow = true
[envoy.heavy]
org = "org"
cost = {{ executions = 3, spend = 1 }}
limit = "rate"

[forward_auth.default]
org = {{ header = "X-Org-Id" }}
scopes = {{ workspace = {{ header = "x-workspace-id" }} }}
[forward_auth.path]
org = {{ path = "/orgs/{{}}" }}
scopes = {{ workspace = {{ path = "/orgs/*/workspaces/{{}}" }} }}
[forward_auth.shadow]
org = {{ header = "x-org-id" }}
shadow = true
[forward_auth.heavy]
org = {{ header = "x-org-id" }}
cost = {{ executions = 7 }}
limit = "rate"
request_id = {{ header = "x-request-id" }}
"""


def descriptor(*entries, **fields):
    return {"entries": [{"key": key, "value": value} for key, value in entries], **fields}


class GatewayCase(NodeCase):
    def application(self):
        application = Application()
        self.addCleanup(application.close)
        return application

    def proxy(self, kind, node, **changes):
        application = self.application()
        proxy = kind(node.grpc, application.address, **changes)
        self.addCleanup(proxy.close)
        application.reached.clear()
        return proxy, application

    def answers(self, proxy, org, count):
        """Of so many requests at the same time."""
        with concurrent.futures.ThreadPoolExecutor(8) as callers:
            return list(callers.map(lambda _: got(proxy.address, "/x", x_org_id=org), range(count)))


class OfEnvoy(GatewayCase):
    def test_exactly_so_many_requests_go_on_as_the_limit_has(self):
        node = self.node(config=CONFIG)
        proxy, application = self.proxy(Envoy, node)
        answers = self.answers(proxy, "acme", 30)
        self.assertEqual(collections.Counter(status for status, _, _ in answers), {200: LIMIT, 429: 30 - LIMIT})
        self.assertEqual(len(application.reached), LIMIT)
        left = sorted(int(headers["x-ratelimit-remaining"]) for status, headers, _ in answers if status == 200)
        self.assertEqual(left, list(range(LIMIT)))
        for status, headers, body in answers:
            self.assertEqual(headers["x-ratelimit-limit"], f'{LIMIT}, {LIMIT};w=86400;name="{QUOTA}"')
            self.assertTrue(0 < int(headers["x-ratelimit-reset"]) <= 86_400, headers)
            if status == 429:
                self.assertTrue(0 < int(headers["retry-after"]) <= 86_400, headers)
                self.assertIn(b"quota", body)

    def test_a_workspace_is_limited_as_one_step_with_its_org(self):
        node = self.node(config=CONFIG)
        proxy, application = self.proxy(Envoy, node)
        statuses = [got(proxy.address, x_org_id="acme", x_workspace_id="w1")[0] for _ in range(7)]
        self.assertEqual(statuses, [200] * 5 + [429] * 2)
        used = {(limit.name, limit.scope): limit.used for limit in self.plane(node).gate.GetStatus(org="acme").limits}
        self.assertEqual(used[(QUOTA, "")], 5, "what the workspace denied is not charged to the org")
        self.assertEqual(got(proxy.address, x_org_id="acme", x_workspace_id="w2")[0], 200)
        self.assertEqual(got(proxy.address)[0], 200, "who names no org is not limited")
        self.assertEqual(len(application.reached), 7)

    def test_where_tollgate_is_away_the_filter_says_what_becomes_of_a_request(self):
        for denies, expected in (("false", 200), ("true", 500)):
            with self.subTest(denies):
                node = self.node(config=CONFIG)
                proxy, _ = self.proxy(Envoy, node, failure_mode_deny=denies)
                self.assertEqual(got(proxy.address, x_org_id="slow")[0], 200)
                node.kill()
                self.assertEqual({got(proxy.address, x_org_id="slow")[0] for _ in range(4)}, {expected})

    def test_a_client_that_writes_its_org_wrong_is_not_let_in_by_it(self):
        node = self.node(config=CONFIG)
        proxy, application = self.proxy(Envoy, node, failure_mode_deny="false")
        for org in ("a b", "x" * 200, "acme//", "*"):
            self.assertEqual(got(proxy.address, x_org_id=org)[0], 429, org)
        self.assertEqual(application.reached, [])

    def test_its_configuration_is_valid_as_it_is(self):
        for kind in (Envoy, Caddy):
            with self.subTest(kind.__name__):
                checked = subprocess.run([kind.program(), *kind.VALIDATE, str(kind.FILE)], stdin=subprocess.DEVNULL,
                                         capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(checked.returncode, 0, checked.stderr + checked.stdout)


class Questions(SharedNodeCase):
    """What a descriptor means, asked as Envoy does."""

    CONFIG = CONFIG

    def setUp(self):
        self.connect = Connect(self.shared.grpc)
        self.addCleanup(self.connect.close)

    def ask(self, *descriptors, domain="edge", **fields):
        return self.connect.post(ASK, {"domain": domain, "descriptors": list(descriptors), **fields})

    def used(self, org):
        return {(limit.name, limit.scope): limit.used for limit in self.gate.GetStatus(org=org).limits}

    def test_descriptors_of_one_org_are_one_charge_in_all_of_their_scopes(self):
        org, other = fresh("org"), fresh("org")
        answer = self.ask(descriptor(("org", org), ("workspace", "w1")), descriptor(("org", org)), descriptor(("other", "x")),
                          descriptor(("org", other))).json
        self.assertEqual(answer["overallCode"], "OK")
        shown = [status.get("currentLimit", {}).get("requestsPerUnit") for status in answer["statuses"]]
        self.assertEqual(shown, [5, LIMIT, None, LIMIT])
        self.assertEqual([status["limitRemaining"] for status in answer["statuses"]], [4, LIMIT - 1, 0, LIMIT - 1])
        self.assertEqual(self.used(org)[(QUOTA, "")], 1)
        self.assertEqual(self.used(other)[(QUOTA, "")], 1)
        metadata = answer["dynamicMetadata"]
        self.assertEqual((metadata["org"], metadata["code"], metadata["http_status"]), (org, "ALLOWED", 200))

    def test_hits_multiply_the_cost_and_none_asks_only(self):
        org = fresh("org")
        self.assertEqual(self.ask(descriptor(("org", org)), hitsAddend=4).json["overallCode"], "OK")
        self.assertEqual(self.used(org)[(QUOTA, "")], 4)
        self.ask(descriptor(("org", org), hitsAddend="6"), hitsAddend=4)
        self.assertEqual(self.used(org)[(QUOTA, "")], 10)
        asked = self.ask(descriptor(("org", org), hitsAddend="0")).json
        self.assertEqual(asked["statuses"][0]["limitRemaining"], 10)
        self.assertEqual(self.used(org)[(QUOTA, "")], 10)
        over = self.ask(descriptor(("org", org)), hitsAddend=11).json
        self.assertEqual((over["overallCode"], over["statuses"][0]["limitRemaining"]), ("OVER_LIMIT", 10))
        self.assertEqual(self.used(org)[(QUOTA, "")], 10, "all, or nothing")

    def test_a_cost_of_several_meters_and_a_limit_that_is_named(self):
        org = fresh("org")
        answer = self.ask(descriptor(("org", org)), domain="heavy", hitsAddend=2).json
        self.assertEqual(self.used(org)[(QUOTA, "")], 6)
        limit = answer["statuses"][0]["currentLimit"]
        self.assertEqual((limit["name"], limit["requestsPerUnit"], limit["unit"]), ("rate", 1000, "DAY"))

    def test_a_shadow_never_denies_and_says_what_it_would_do(self):
        org = fresh("org")
        for _ in range(3):
            answer = self.ask(descriptor(("org", org)), domain="shadow", hitsAddend=15).json
            self.assertEqual(answer["overallCode"], "OK")
        self.assertEqual((answer["dynamicMetadata"]["code"], answer["dynamicMetadata"]["shadow"]), ("QUOTA_EXCEEDED", True))
        self.assertEqual(self.used(org)[(QUOTA, "")], 15, "charged as it would be: what is denied is not")
        def counted():
            return metric(self.shared.http, "tollgate_gateway_answers_total", gateway="envoy", rule="shadow", answer="shadow_denied")

        before = counted()
        self.assertGreaterEqual(before, 2)
        answer = self.ask(descriptor(("org", fresh("org"))), descriptor(("org", "a b")), domain="shadow").json
        self.assertEqual((answer["overallCode"], [status["code"] for status in answer["statuses"]]), ("OK", ["OK", "OK"]))
        self.assertEqual((answer["dynamicMetadata"]["code"], answer["rawBody"]), ("INVALID_FIELD", ""), "an org that there cannot be")
        self.assertEqual(counted(), before + 1)

    def test_from_eighty_percent_on_a_limit_is_near(self):
        org, near = fresh("org"), []
        for _ in range(3):
            near.append(self.ask(descriptor(("org", org)), hitsAddend=6).json["dynamicMetadata"]["near_limit"])
        self.assertEqual(near, [False, False, True])

    def test_a_retry_under_its_id_is_charged_once(self):
        org = fresh("org")
        for _ in range(3):
            self.assertEqual(self.ask(descriptor(("org", org), ("id", "r1"))).json["overallCode"], "OK")
        self.assertEqual(self.used(org)[(QUOTA, "")], 1)
        reused = self.ask(descriptor(("org", org), ("id", "r1")), hitsAddend=2).json
        self.assertEqual((reused["overallCode"], reused["dynamicMetadata"]["code"]), ("OVER_LIMIT", "REQUEST_ID_REUSED"))

    def test_descriptors_of_one_org_that_charge_differently_are_retried_each_by_itself(self):
        org = fresh("org")
        for _ in range(3):
            answer = self.ask(descriptor(("org", org), ("id", "r1")),
                              descriptor(("org", org), ("id", "r1"), ("workspace", "w1"), hitsAddend="2"))
            self.assertEqual((answer.status, answer.json["overallCode"]), (200, "OK"))
        self.assertEqual(self.used(org)[(QUOTA, "")], 3)
        org = fresh("org")
        for _ in range(2):
            self.ask(descriptor(("org", org)), descriptor(("org", org), ("workspace", "w1"), ("id", "r2")))
        self.assertEqual(self.used(org)[(QUOTA, "")], 1, "an id in any of them is that of the whole")

    def test_what_is_not_meant_for_tollgate_is_refused_by_its_name(self):
        org = descriptor(("org", fresh("org")))
        for body, named in (
            ({"domain": "other", "descriptors": [org]}, "domain \"other\" is not allowed: a domain of the configuration, which has [envoy.edge], [envoy.heavy], [envoy.shadow]"),
            ({"domain": "", "descriptors": [org]}, "domain"),
            ({"domain": "edge", "descriptors": [org, {**org, "isNegativeHits": True}]}, "descriptors[1].is_negative_hits"),
            ({"domain": "edge", "descriptors": [{**org, "limit": {"requestsPerUnit": 5, "unit": 1}}]}, "descriptors[0].limit"),
            ({"domain": "edge", "descriptors": [org] * 101}, "at most 100"),
        ):
            answer = self.connect.post(ASK, body)
            self.assertEqual((answer.status, answer.reason), (400, "INVALID_FIELD"), body)
            self.assertIn(named, answer.message)

    def test_what_the_client_chose_wrong_is_a_denial_and_charges_nothing(self):
        good = fresh("org")
        for bad in (descriptor(("org", "a b")), descriptor(("org", good), ("workspace", "a b"))):
            answer = self.ask(bad).json
            self.assertEqual((answer["overallCode"], answer["dynamicMetadata"]["code"]), ("OVER_LIMIT", "INVALID_FIELD"))
        self.assertEqual(self.used(good)[(QUOTA, "")], 0)

    def test_no_descriptor_limits_nothing(self):
        for descriptors in ([], [descriptor()], [descriptor(("org", ""))]):
            self.assertEqual(self.ask(*descriptors).json["overallCode"], "OK")
        self.assertGreaterEqual(metric(self.shared.http, "tollgate_gateway_answers_total", gateway="envoy", rule="edge", answer="no_org"), 3)


class Forwarded(SharedNodeCase):
    """What forward authentication answers, without a proxy."""

    CONFIG = CONFIG

    def ask(self, query="", method="GET", body=None, port="http", **headers):
        address = self.shared.http if port == "http" else self.shared.grpc
        return got(address, FORWARD + query, method, body, **headers)

    def test_both_ports_answer_with_the_status_and_with_what_is_left(self):
        org = fresh("org")
        for left, port in enumerate(("http", "grpc"), 1):
            status, headers, body = self.ask(port=port, x_org_id=org)
            self.assertEqual((status, body), (200, b""))
            self.assertEqual(headers["ratelimit-policy"], f'"{QUOTA}";q={LIMIT};w=86400')
            self.assertRegex(headers["ratelimit"], rf'^"{QUOTA}";r={LIMIT - left};t=\d+$')
            self.assertEqual((headers["tollgate-code"], headers["cache-control"]), ("ALLOWED", "no-store"))
            self.assertRegex(headers["tollgate-decision-id"], "^[0-9a-f]{32}$")

    def test_a_denial_has_its_real_status_its_sentence_and_its_time(self):
        org, frozen = fresh("org"), fresh("org")
        for _ in range(2):
            self.ask("?rule=heavy", x_org_id=org)
        status, headers, body = self.ask("?rule=heavy", x_org_id=org)
        self.assertEqual((status, headers["content-type"]), (402, "application/problem+json"))
        self.assertTrue(0 < int(headers["retry-after"]) <= 86_400)
        self.assertIn(b'"code":"QUOTA_EXCEEDED"', body)
        self.assertIn(b'"status":402', body)
        self.assertIn(b'"title":"Payment Required"', body)
        for expected in (200, 200, 429):
            self.assertEqual(self.ask(x_org_id="slow")[0], expected)
        self.admin.Freeze(org=frozen, request_id=fresh(), reason="test")
        status, headers, _ = self.ask(x_org_id=frozen)
        self.assertEqual((status, headers["tollgate-code"], headers["retry-after"]), (403, "FROZEN", None))

    def test_the_org_and_its_scopes_out_of_the_path(self):
        org = fresh("org")
        for path, expected in (
            (f"/orgs/{org}", 200), (f"/orgs/{org}/x?y=/orgs/other", 200), (f"/orgs/{org}/workspaces/w1", 200),
            (f"/orgs/{org.replace('o', '%6F', 1)}", 200),
            ("/", 403), ("/orgs", 403), (f"//orgs/{org}", 403), ("/orgs/a%20b", 403), ("", 403), (None, 403),
        ):
            status, headers, _ = self.ask("?rule=path", x_forwarded_uri=path)
            self.assertEqual(status, expected, path)
            self.assertIn(headers["tollgate-code"], ("ALLOWED",) if expected == 200 else ("NO_ORG", "INVALID_FIELD"), path)
        # What an application may take for another path than this node does.
        for path in (
            f"/orgs/{org}/../other", f"/orgs/{org}/%2e%2E/other", f"/orgs/{org}%2Fother", f"/orgs/{org}/..%2f..%2forgs%2fother",
            f"/orgs/{org}/x%5c..%5cother", f"/orgs/{org}/x\\..\\other", f"/orgs/{org}/..;/..;/orgs/other", f"/orgs/{org};1",
            f"/orgs/{org}%3b1", "/orgs/%ff",
        ):
            status, headers, body = self.ask("?rule=path", x_forwarded_uri=path)
            self.assertEqual((status, headers["tollgate-code"]), (403, "UNCLEAR"), path)
        self.assertIn(b"semicolon", body)
        used = {(limit.name, limit.scope): limit.used
                for limit in self.gate.GetStatus(org=org, scope="workspace/w1").limits}
        self.assertEqual((used[(QUOTA, "")], used[("quota/executions", "workspace/w1")]), (4, 1))

    def test_a_header_that_is_there_twice_names_nothing(self):
        connect = Connect(self.shared.http)
        self.addCleanup(connect.close)
        connect.connection.putrequest("GET", FORWARD)
        for org in ("acme", "beta"):
            connect.connection.putheader("x-org-id", org)
        connect.connection.endheaders()
        answer = connect.connection.getresponse()
        self.assertEqual((answer.status, answer.read() and answer.headers["tollgate-code"]), (403, "UNCLEAR"))

    def test_a_scope_that_is_there_twice_is_not_left_out(self):
        connect = Connect(self.shared.http)
        self.addCleanup(connect.close)
        connect.connection.putrequest("GET", FORWARD)
        for name, value in (("x-org-id", fresh("org")), ("x-workspace-id", "w1"), ("x-workspace-id", "w2")):
            connect.connection.putheader(name, value)
        connect.connection.endheaders()
        answer = connect.connection.getresponse()
        self.assertEqual((answer.status, answer.read() and answer.headers["tollgate-code"]), (403, "UNCLEAR"))

    def test_a_shadow_lets_everything_on(self):
        org = fresh("org")
        for _ in range(LIMIT + 2):
            status, headers, _ = self.ask("?rule=shadow", x_org_id=org)
            self.assertEqual(status, 200)
        self.assertEqual(headers["tollgate-code"], "QUOTA_EXCEEDED")
        for org, code in (("a b", "INVALID_FIELD"), (None, "NO_ORG"), ("", "NO_ORG")):
            status, headers, body = self.ask("?rule=shadow", x_org_id=org)
            self.assertEqual((status, headers["tollgate-code"], body), (200, code, b""), org)

    def test_a_retry_under_the_id_of_the_proxy_is_charged_once(self):
        org = fresh("org")
        for _ in range(4):
            self.assertEqual(self.ask("?rule=heavy", x_org_id=org, x_request_id="r1")[0], 200)
        self.assertEqual(self.ask("?rule=heavy", x_org_id=org, x_request_id="x" * 200)[0], 403, "an id that is none")

    def test_whatever_else_the_request_has_means_nothing(self):
        org = fresh("org")
        given = {"origin": "https://evil.example", "authorization": "Bearer of-the-client", "content_type": "text/plain"}
        for method, body in (("GET", None), ("HEAD", None), ("POST", b"x" * 1000), ("OPTIONS", None), ("PROPFIND", None)):
            self.assertEqual(self.ask(method=method, body=body, x_org_id=org, **given)[0], 200, method)

    def test_a_rule_that_is_not_configured_says_so(self):
        status, _, body = self.ask("?rule=other", x_org_id="acme")
        self.assertEqual((status, body), (404, b'no rule has this name: the configuration has no section [forward_auth."other"]\n'))

    def test_answers_are_counted_by_rule(self):
        def counted(answer):
            return metric(self.shared.http, "tollgate_gateway_answers_total", gateway="forward-auth", rule="heavy", answer=answer)

        before = [counted(answer) for answer in ("allowed", "denied", "no_org")]
        org = fresh("org")
        for _ in range(3):
            self.ask("?rule=heavy", x_org_id=org)
        self.ask("?rule=heavy")
        self.assertEqual([counted(answer) for answer in ("allowed", "denied", "no_org")], [before[0] + 2, before[1] + 1, before[2] + 1])


class Known(NodeCase):
    """R-AUTH-1: a proxy is a caller like any other; the client is not."""

    TOKEN_RULE = '[forward_auth.token]\norg = "token"\n[forward_auth.shadow]\norg = "token"\nshadow = true\n[forward_auth.default]\norg = { header = "x-org-id" }\n[envoy.edge]\norg = "org"\n[envoy.shadow]\norg = "org"\nshadow = true\n'

    def setUp(self):
        node = self.node(start=False)
        tokens = node.config_file + ".tokens"
        self.tokens = {}
        for name, role, orgs in (("proxy", "plane", "*"), ("narrow", "plane", "acme-*"), ("viewer", "viewer", "*"),
                                 ("acme", "viewer", "acme-1"), ("many", "viewer", "acme-*")):
            made = node.run("token", "create", "--file", tokens, "--name", name, "--role", role, "--orgs", orgs,
                            "--expires", "1d")
            self.assertEqual(made.returncode, 0, made.stderr)
            self.tokens[name] = made.stdout.split()[-1]
        node.write_config(f'[auth]\ntokens = "{tokens}"\n{self.TOKEN_RULE}')
        self.served = node.start()

    def ask(self, query="", proxy="proxy", client=None, **headers):
        bearer = {"tollgate_authorization": proxy and f"Bearer {self.tokens[proxy]}",
                  "authorization": client and f"Bearer {self.tokens.get(client, client)}"}
        return got(self.served.http, FORWARD + query, **bearer, **headers)

    def test_the_proxy_shows_who_it_is_and_the_header_of_the_client_is_not_taken_for_it(self):
        self.assertEqual(self.ask(x_org_id="acme-1")[0], 200)
        status, headers, body = self.ask(proxy=None, client="proxy", x_org_id="acme-1")
        self.assertEqual((status, headers["www-authenticate"]), (401, "Bearer"))
        self.assertIn(b"tollgate-authorization", body)
        for rule in ("default", "shadow"):
            status, headers, _ = self.ask(f"?rule={rule}", proxy="viewer", client="acme", x_org_id="acme-1")
            self.assertEqual((status, headers["tollgate-code"]), (403, "ROLE_NOT_ALLOWED"), "a viewer charges nothing")
            counted = metric(self.served.http, "tollgate_gateway_answers_total", gateway="forward-auth", rule=rule, answer="error")
            self.assertGreaterEqual(counted, 1)
        self.assertEqual(self.ask(proxy="narrow", x_org_id="acme-2")[0], 200)
        self.assertEqual(self.ask(proxy="narrow", x_org_id="beta")[0], 403, "an org of others")

    def test_the_org_of_the_clients_own_token(self):
        self.assertEqual(self.ask("?rule=token", client="acme")[0], 200)
        plane = Connect(self.served.grpc, self.tokens["proxy"])
        self.addCleanup(plane.close)
        viewer = Connect(self.served.grpc, self.tokens["viewer"])
        self.addCleanup(viewer.close)
        status = viewer.post("tollgate.v1.GateService/GetStatus", {"org": "acme-1"}).json
        self.assertEqual([limit["used"] for limit in status["limits"] if limit["name"] == "rate"], ["1"])
        for client, expected in ((None, 401), ("nonsense", 401), ("many", 403), ("viewer", 403)):
            self.assertEqual(self.ask("?rule=token", client=client)[0], expected, client)
            self.assertEqual(self.ask("?rule=shadow", client=client)[0], 200, client)
        self.assertEqual(self.ask("?rule=shadow", proxy="narrow", client="acme")[1]["tollgate-code"], "ALLOWED")
        for rule in ("token", "shadow"):
            self.assertEqual(self.ask(f"?rule={rule}", proxy=None, client="acme")[0], 401, "the proxy as well")

    def test_envoy_is_asked_for_its_token_and_may_reach_its_orgs(self):
        question = {"domain": "edge", "descriptors": [descriptor(("org", "beta"))]}
        for name, domain, expected in (("proxy", "edge", "OK"), ("narrow", "edge", "OVER_LIMIT"), ("narrow", "shadow", "OK")):
            connect = Connect(self.served.grpc, self.tokens[name])
            self.addCleanup(connect.close)
            self.assertEqual(connect.post(ASK, {**question, "domain": domain}).json["overallCode"], expected)
        for token, status in ((None, 401), (self.tokens["viewer"], 403)):
            connect = Connect(self.served.grpc, token)
            self.addCleanup(connect.close)
            self.assertEqual(connect.post(ASK, question).status, status)


class OfProxies(GatewayCase):
    """nginx and Caddy, each with what deploy/ has for it."""

    def test_nginx(self):
        self.check(Nginx, closed=503)

    def test_caddy(self):
        self.check(Caddy, closed=502)

    def check(self, kind, closed):
        node = self.node(config=CONFIG)
        proxy, application = self.proxy(kind, node)
        answers = self.answers(proxy, "acme", 30)
        self.assertEqual(collections.Counter(status for status, _, _ in answers), {200: LIMIT, 402: 30 - LIMIT})
        self.assertEqual(len(application.reached), LIMIT)
        denied = next(headers for status, headers, _ in answers if status == 402)
        self.assertEqual(denied["tollgate-code"], "QUOTA_EXCEEDED")
        self.assertTrue(0 < int(denied["retry-after"]) <= 86_400)
        self.assertRegex(denied["ratelimit"], rf'^"{QUOTA}";r=0;t=\d+$')
        self.assertEqual([got(proxy.address, x_org_id="slow")[0] for _ in range(3)], [200, 200, 429])
        self.assertEqual(got(proxy.address)[0], 403, "who names no org")
        self.assertEqual(got(proxy.address, x_org_id="a b")[0], 403)
        # A credential that is the client's own to send is not the proxy's.
        self.assertEqual(got(proxy.address, x_org_id="other", tollgate_authorization="Bearer x")[0], 200)
        self.assertEqual([got(proxy.address, x_org_id="ws", x_workspace_id="w1")[0] for _ in range(6)], [200] * 5 + [402])
        self.assertEqual(got(proxy.address, "/x", "POST", b"a body", x_org_id="third")[0], 501, "the application's own answer")
        node.kill()
        self.assertEqual(got(proxy.address, x_org_id="slow")[0], closed)


if __name__ == "__main__":
    unittest.main()
