/**
 * Errors. An error means that tollgate made no decision; a denial is an answer and is never one of
 * these, with the exception of `DeniedError`, which is thrown only where a caller asks for it.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import type { Denial } from "./decision.js";

export { Code };

/** A field of the request that was refused. */
export interface FieldViolation {
  /** The path of the field, as in the protos: `org`, `cost[0].meter`. */
  readonly field: string;
  /** The value, and what is allowed. */
  readonly description: string;
}

/**
 * What an error of a call says, whoever made it: tollgate, something in between, or the network.
 */
export interface Failure {
  readonly code: Code;
  /**
   * `ErrorInfo.reason` of tollgate, such as `REQUEST_ID_REUSED` or `DRAINING`; one of this
   * package, such as `CIRCUIT_OPEN`; or empty where the error is not of tollgate.
   */
  readonly reason: string;
  /** Milliseconds before which another try is not worth it; undefined where nothing was said. */
  readonly retryAfterMs: number | undefined;
  /** The fields that were refused; empty unless the code is INVALID_ARGUMENT. */
  readonly fields: readonly FieldViolation[];
}

/** The base of errors of this package. `code` is that of gRPC and Connect. */
export class TollgateError extends Error implements Failure {
  override readonly name: string = "TollgateError";
  readonly code: Code;
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
  readonly fields: readonly FieldViolation[];
  /** How often the call was sent, under the same request id. */
  readonly attempts: number;

  constructor(message: string, failure: Failure, attempts: number, cause?: unknown) {
    super(message, { cause });
    this.code = failure.code;
    this.reason = failure.reason;
    this.retryAfterMs = failure.retryAfterMs;
    this.fields = failure.fields;
    this.attempts = attempts;
  }
}

/** No decision in time: tollgate is away, hangs, sheds load, or its answer could not be read. */
export class UnavailableError extends TollgateError {
  override readonly name = "UnavailableError";
}

/**
 * The call itself is wrong (a field, the token, the address, a request id that was used otherwise):
 * a repetition would be answered the same. It never fails open by default.
 */
export class RefusedError extends TollgateError {
  override readonly name = "RefusedError";
}

/**
 * A denial as an error, for code that can hand one on in no other way: see `orThrow` and `gated`.
 */
export class DeniedError extends Error {
  override readonly name = "DeniedError";
  readonly denial: Denial;

  constructor(denial: Denial) {
    super(denial.message || `denied: ${denial.codeName}`);
    this.denial = denial;
  }
}

/** Codes that say that the call is wrong, and not that tollgate is away. */
const MISTAKES: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.NotFound,
  Code.AlreadyExists,
  Code.FailedPrecondition,
  Code.OutOfRange,
  Code.Unimplemented,
  Code.Aborted,
]);

/**
 * tollgate does not check credentials from here for a while, because too many were wrong. It names a
 * time to try again, and yet it is no outage.
 */
const THROTTLED = "TOO_MANY_REFUSALS";

/**
 * Whether an error means that tollgate could not decide (true: `onUnavailable` chooses), or that
 * the call is wrong (false: `RefusedError` is thrown). The default of the option `isUnavailable`.
 */
export function isUnavailable(failure: Failure): boolean {
  return !MISTAKES.has(failure.code) && failure.reason !== THROTTLED;
}

/** Whether another token may be taken. */
export function isOfTheToken(failure: Failure): boolean {
  return failure.code === Code.Unauthenticated || failure.reason === THROTTLED;
}

/**
 * Whether the same call may be sent again: everything but a mistake, and RESOURCE_EXHAUSTED where
 * tollgate names no time, because such a limit does not pass by itself.
 */
export function isRetryable(failure: Failure): boolean {
  const isWithoutTime =
    failure.code === Code.ResourceExhausted && failure.retryAfterMs === undefined;
  return isUnavailable(failure) && !isWithoutTime;
}

/**
 * What cannot even be written is a mistake of the caller, and no outage. The header keeps it apart
 * from an answer that cannot be read.
 */
export function mistake(message: string, code: Code, cause: unknown): ConnectError {
  return new ConnectError(message, code, { "x-refused-by": "client" }, undefined, cause);
}

/** What an error of a transport says. */
export function failureOf(error: unknown): Failure & { readonly message: string } {
  const connect = ConnectError.from(error);
  const info = connect.findDetails(ErrorInfoSchema)[0];
  const fields = connect.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
  return {
    code: isOfAnAnswer(connect) ? connect.code : Code.Unknown,
    reason: info?.reason ?? "",
    retryAfterMs: retryAfterMs(connect),
    fields: fields.map(({ field, description }) => ({ field, description })),
    message: connect.rawMessage,
  };
}

/**
 * Whether an error came as an answer. Bytes that mean nothing are InvalidArgument to the library
 * that reads them, without headers: that is no refusal of tollgate.
 */
function isOfAnAnswer(error: ConnectError): boolean {
  return !MISTAKES.has(error.code) || [...error.metadata].length > 0 || error.details.length > 0;
}

/** From RetryInfo, or else from the header `retry-after` in seconds. */
function retryAfterMs(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay) return Number(delay.seconds) * 1000 + Math.ceil(delay.nanos / 1e6);
  const header = error.metadata.get("retry-after");
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1000 : undefined;
}
