/**
 * The operator's services: `tg.raw.client(AdminService)`. A module of its own, so that planes do
 * not carry it.
 */
export * from "./gen/tollgate/admin/v1/admin_pb.js";
export * from "./gen/tollgate/admin/v1/control_pb.js";
export * from "./gen/tollgate/admin/v1/events_pb.js";
export * from "./gen/tollgate/admin/v1/explain_pb.js";
export * from "./gen/tollgate/admin/v1/grant_pb.js";
export * from "./gen/tollgate/admin/v1/names_pb.js";
export * from "./gen/tollgate/admin/v1/snapshot_pb.js";
export * from "./gen/tollgate/admin/v1/usage_pb.js";
export * from "./gen/tollgate/admin/v1/what_if_pb.js";
