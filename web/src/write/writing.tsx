// Which change is being made, as the address says.
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import type { FunctionComponent } from "preact";
import { query } from "../route";
import type { Source } from "../source";
import { ClearForm, GrantForm, OverrideForm, ResetForm, RevokeForm } from "./limits";
import { AccountForm, BudgetForm, DeleteForm, ExemptForm, FreezeForm, PlanForm, RefundForm, SessionForm, UnfreezeForm } from "./org";

const FORMS: Record<string, FunctionComponent<{ data: GetOrgResponse; done: () => void }>> = {
  override: OverrideForm,
  clear: ClearForm,
  grant: GrantForm,
  revoke: RevokeForm,
  reset: ResetForm,
  refund: RefundForm,
  plan: PlanForm,
  exempt: ExemptForm,
  freeze: FreezeForm,
  unfreeze: UnfreezeForm,
  budget: BudgetForm,
  session: SessionForm,
  account: AccountForm,
  delete: DeleteForm,
};

export function Writing({ of, done }: { org: string; of: Source<GetOrgResponse>; done: () => void }) {
  const what = query.value.get("do") ?? "";
  const Form = FORMS[what];
  // A form is of the org as it was when it was opened; what it changes is judged by the node.
  const data = of.data.peek() ?? of.data.value;
  return Form && data ? <Form key={what} data={data} done={done} /> : null;
}
