"""`tollgate --output json` against the stock protobuf library, which knows canonical JSON by itself."""

import base64
import json
import unittest

from google.protobuf import json_format, message_factory
from google.rpc import error_details_pb2

from case import SharedNodeCase, fresh
from plane import descriptors

DAILY = 1_000_000
DETAILS = {
    "google.rpc.BadRequest": error_details_pb2.BadRequest,
    "google.rpc.ErrorInfo": error_details_pb2.ErrorInfo,
}


def as_dict(message):
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


class Json(SharedNodeCase):
    def cli(self, *arguments):
        return self.shared.run("--addr", f"http://{self.shared.grpc}", "--output", "json", *arguments)

    def answer(self, name, *arguments, code=0):
        """The answer as a dictionary, after the stock library has read it and written the same again."""
        run = self.cli(*arguments)
        self.assertEqual((run.returncode, run.stderr), (code, ""), run.stdout)
        printed = json.loads(run.stdout)
        message = message_factory.GetMessageClass(descriptors(self.client.channel).FindMessageTypeByName(name))()
        json_format.ParseDict(printed, message)
        self.assertEqual(printed, as_dict(message))
        return printed

    def error(self, code, *arguments):
        run = self.cli(*arguments)
        self.assertEqual((run.returncode, run.stdout), (code, ""), run.stderr)
        error = json.loads(run.stderr)
        for detail in error.get("details", []):
            message = DETAILS[detail["type"]].FromString(base64.b64decode(detail["value"] + "=="))
            self.assertEqual(detail["debug"], as_dict(message))
        return error

    def test_answers_are_what_the_stock_library_writes(self):
        org = fresh("org")
        allowed = self.answer("tollgate.v1.AcquireResponse", "acquire", org, "--reserve", "spend=50000u")
        self.assertEqual((allowed["allowed"], allowed["code"]), (True, "DECISION_CODE_ALLOWED"))
        budget = self.answer("tollgate.v1.UpdateBudgetResponse", "budget", "set", org, f"daily={DAILY}u")
        self.assertEqual(budget["budget"]["periods"]["daily"]["limit"], str(DAILY))
        self.assertNotIn("limit", budget["budget"]["periods"]["hourly"], "absent is no limit")
        denied = self.answer("tollgate.v1.AcquireResponse", "acquire", org, "--reserve", "spend=2000000u", code=3)
        self.assertIs(denied["allowed"], False)
        self.assertEqual((denied["code"], denied["httpStatusHint"]), ("DECISION_CODE_BUDGET_EXCEEDED", 402))

        status = self.answer("tollgate.v1.BatchGetStatusResponse", "status", org, fresh("org"))
        self.assertEqual([result["status"]["allowed"] for result in status["results"]], [True, True])
        self.answer("tollgate.v1.GetBudgetResponse", "budget", "get", org)
        self.answer("tollgate.v1.StartSessionResponse", "session", "start", org, "s1", "--identity", "i")
        self.answer("tollgate.v1.ListSessionsResponse", "session", "list", org)
        self.answer("tollgate.v1.BatchStatusResponse", "session", "status", org)
        self.answer("tollgate.v1.ConfigurePoolResponse", "pool", "configure", org, "p", "--account", "k1,limit=9,buffer=0")
        self.answer("tollgate.v1.PickResponse", "pool", "pick", org, "p", "--acquire")
        self.answer("tollgate.admin.v1.GetOrgResponse", "org", "show", org)
        self.answer("tollgate.admin.v1.ListOrgsResponse", "org", "list", "--limit", "1")
        self.answer("tollgate.admin.v1.AuditResponse", "audit", org)
        node = self.answer("tollgate.admin.v1.GetNodeResponse", "node")
        self.assertEqual(node["bounds"]["batch_items"], "1000", "the keys of a map are data")

    def test_errors_have_the_form_of_connect(self):
        org = fresh("org")
        unknown = self.error(1, "session", "show", org, "s1")
        self.assertEqual((unknown["code"], unknown["details"][0]["debug"]["reason"]), ("not_found", "SESSION_UNKNOWN"))
        twice = self.error(2, "acquire", org, "--cost", "spend=1u", "--cost", "spend=2u")
        self.assertEqual(twice["code"], "invalid_argument")
        self.assertEqual(twice["details"][0]["debug"]["fieldViolations"][0]["field"], "cost")
        self.assertEqual(self.error(2, "acquire")["code"], "invalid_argument")
        nobody = self.shared.run("--addr", "127.0.0.1:1", "-o", "json", "node")
        self.assertEqual((nobody.returncode, nobody.stdout), (1, ""))
        self.assertEqual(json.loads(nobody.stderr)["code"], "unavailable")


if __name__ == "__main__":
    unittest.main()
