/**
 * The messages and services of the protos as generated, for `tg.raw`, with the details of errors.
 */
export * from "./gen/google/rpc/error_details_pb.js";
export * from "./gen/tollgate/v1/budget_pb.js";
export * from "./gen/tollgate/v1/gate_pb.js";
export * from "./gen/tollgate/v1/pool_pb.js";
export * from "./gen/tollgate/v1/session_pb.js";
