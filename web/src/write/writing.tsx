// Which change is being made, as the address says.
import type { GetOrgResponse } from "@gen/admin/v1/admin_pb.js";
import type { FunctionComponent } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { draft } from "../org/budgets";
import { closePanel, query } from "../route";
import type { Source } from "../source";
import { ClearForm, grantOf, GrantForm, OverrideForm, ResetForm, RevokeForm } from "./limits";
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

/** Of what else the address has to name for them: without it there is nothing to change, such as after a reload. */
const NEEDS: Record<string, (data: GetOrgResponse) => boolean> = {
  budget: () => draft.current !== undefined,
  revoke: (data) => grantOf(data) !== undefined,
  clear: () => query.peek().has("limit"),
  account: () => query.peek().has("id"),
};

export function Writing({ of, done }: { org: string; of: Source<GetOrgResponse>; done: () => void }) {
  const what = query.value.get("do") ?? "";
  const data = of.data.value;
  return data && what ? <Change key={what} what={what} data={data} done={done} /> : null;
}

/** A form is of the org as it was when it was opened; what it changes is judged by the node. */
function Change({ what, data, done }: { what: string; data: GetOrgResponse; done: () => void }) {
  const opened = useRef(data).current;
  const Form = useRef(NEEDS[what]?.(data) === false ? undefined : FORMS[what]).current;
  useEffect(() => {
    if (!Form) closePanel();
  }, []);
  return Form ? <Form data={opened} done={done} /> : null;
}
