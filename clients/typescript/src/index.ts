/**
 * tollgate asks before every execution whether it may run: `tollgate({ url }).guard(org, run)`.
 *
 * @module
 */
export { tollgate, Tollgate } from "./client.js";
export type { ReserveOptions } from "./client.js";
export type {
  Addressed,
  BreakerOptions,
  ChoosePolicy,
  ClientOptions,
  NoDecision,
  Policy,
  Protocol,
  TollgateOptions,
  Transported,
  UncountedResume,
} from "./options.js";
export type { AcquireOptions, Admission, PolicyOptions } from "./admission.js";
export type { CallBudget, Raw, Send } from "./call.js";
export type { BreakerState } from "./breaker.js";
export type { Stats } from "./stats.js";
export { orThrow } from "./guard.js";
export type { Guarded, GuardOptions, ResumeOptions, Run } from "./guard.js";
export type { CompleteOn, Execution, Ticket } from "./execution.js";
export type { Hold } from "./hold.js";
export { DecisionCode, denialResponse, LimitSource } from "./decision.js";
export type {
  Allowed,
  Decision,
  Denial,
  DenialCode,
  HoldTerms,
  Limit,
  UnevaluatedGate,
} from "./decision.js";
export {
  Code,
  DeniedError,
  isUnavailable,
  RefusedError,
  TollgateError,
  UnavailableError,
} from "./errors.js";
export type { Failure, FieldViolation } from "./errors.js";
export type {
  CommitSettlement,
  FailedSettlement,
  RecordSettlement,
  ReleaseSettlement,
  Settlement,
  WaitUntil,
} from "./settlement.js";
export type {
  AttachOptions,
  Session,
  SessionOptions,
  SessionStart,
  SessionStop,
  SessionUse,
} from "./session.js";
export type {
  BatchItem,
  Budget,
  BudgetChange,
  Budgets,
  BudgetWhere,
  ItemFailure,
  Period,
  SessionStatus,
  SessionStatusResult,
  Status,
  Where,
} from "./reads.js";
export { gated } from "./executor.js";
export type {
  Executor,
  Gated,
  GatedCall,
  GatedOptions,
  ResultOf,
  TicketStore,
} from "./executor.js";
export { formatMs, formatUsd, hours, minutes, seconds, usd } from "./amounts.js";
export type { Amounts, AmountTexts } from "./amounts.js";
export { requestId } from "./request_id.js";
