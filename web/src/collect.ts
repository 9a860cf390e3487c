// The first of all orgs in some order: every page is asked for, and the first are kept, as the command does.
import { create } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { ListOrgsRequestSchema, OrgSort, type ListOrgsRequest, type ListOrgsResponse, type OrgSummary } from "@gen/admin/v1/admin_pb.js";
import { admin } from "./api";

const PAGE = 1000;
const NAMES = new Intl.Collator("en");

export type Orgs = { rows: OrgSummary[]; read: bigint; failures: ListOrgsResponse["failures"]; complete: boolean };

export type OrgsAsked = Partial<Pick<ListOrgsRequest, "match" | "plan" | "state" | "nearPercent" | "sort">>;

function weight(row: OrgSummary, sort: OrgSort): bigint {
  switch (sort) {
    case OrgSort.MOST_DENIED:
      return row.deniedToday;
    case OrgSort.MOST_USED:
      return row.usedPercent;
    case OrgSort.MOST_CALLS:
      return row.allowedToday + row.deniedToday;
    case OrgSort.MOST_FAILED_OPEN:
      return row.failedOpenToday;
    default:
      return 0n;
  }
}

/** As many rows as are wanted. `seen` is called with what is there after each page. */
export async function collect(asked: OrgsAsked, most: number, options: CallOptions, seen?: (orgs: Orgs) => void): Promise<Orgs> {
  const orgs: Orgs = { rows: [], read: 0n, failures: [], complete: false };
  const sort = asked.sort ?? OrgSort.UNSPECIFIED;
  let pageToken = "";
  do {
    const held = sort === OrgSort.UNSPECIFIED ? orgs.rows.length : 0;
    const pageSize = Math.min(Math.max(most - held, 1), PAGE);
    const page = await admin.listOrgs(create(ListOrgsRequestSchema, { numbers: true, ...asked, pageSize, pageToken }), options);
    orgs.rows = orgs.rows.concat(page.orgs);
    orgs.read += page.orgsRead;
    orgs.failures = orgs.failures.concat(page.failures);
    if (sort !== OrgSort.UNSPECIFIED) {
      orgs.rows.sort((a, b) => Number(weight(b, sort) - weight(a, sort)));
      orgs.rows.length = Math.min(orgs.rows.length, most);
    }
    pageToken = page.nextPageToken;
    orgs.complete = pageToken === "";
    if (sort === OrgSort.UNSPECIFIED && orgs.rows.length >= most) break;
    seen?.({ ...orgs });
  } while (pageToken !== "");
  if (sort === OrgSort.UNSPECIFIED && orgs.complete) orgs.rows.sort((a, b) => NAMES.compare(a.name || a.org, b.name || b.org));
  return orgs;
}
