//! What a fingerprint covers, held against the descriptors: a field that is added to a request with an id
//! has to be covered, or named here among those that are not.

use std::collections::BTreeSet;

use proptest::prelude::*;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

use super::*;
use crate::wire::{admin::v1 as admin, json::descriptors};

/// Never part of what a call means.
const LABELS: [&str; 5] = ["org", "request_id", "plane", "explain", "dry_run"];
/// These remember no id.
const FORGETFUL: [&str; 2] = ["PurgeOrg", "ReplayExports"];

const HOLD: &str = "56026a878e5d70eb0000000000000001";

fn amount(meter: &str, amount: i64) -> v1::Amount {
    v1::Amount { meter: meter.into(), amount }
}

fn acquire_request() -> v1::AcquireRequest {
    v1::AcquireRequest {
        org: "acme".into(),
        scope: "team/a".into(),
        operation: v1::Operation::ExecuteWithPause.into(),
        request_id: "r".into(),
        cost: vec![amount("executions", 2), amount("spend", 5)],
        reserve: vec![amount("spend", 7), amount("compute", 9)],
        reservation_ttl_ms: 60_000,
        mode: v1::Mode::Shadow.into(),
        explain: true,
        plane: "p".into(),
        pool: "relay".into(),
        scopes: Vec::new(),
    }
}

fn update_request() -> v1::UpdateBudgetRequest {
    let hourly = v1::PeriodPatch { limit: Some(3), clear: false };
    let daily = v1::PeriodPatch { limit: None, clear: true };
    v1::UpdateBudgetRequest {
        org: "acme".into(),
        scope: "team/a".into(),
        request_id: "r".into(),
        periods: [("hourly".to_owned(), hourly), ("daily".to_owned(), daily)].into(),
        expected_version: Some(4),
        ..Default::default()
    }
}

fn replace_request() -> v1::ReplaceBudgetRequest {
    v1::ReplaceBudgetRequest {
        org: "acme".into(),
        scope: "team/a".into(),
        request_id: "r".into(),
        limits: [("hourly".to_owned(), 3), ("daily".to_owned(), 0)].into(),
        expected_version: Some(4),
        ..Default::default()
    }
}

fn configure_request() -> v1::ConfigurePoolRequest {
    let account = v1::PoolAccount {
        account: "sk-one".into(),
        daily_limit: Some(100),
        safety_buffer: Some(0),
        window: "calendar/day".into(),
        per_minute: None,
    };
    let follows = v1::PoolAccount { account: "sk-two".into(), ..Default::default() };
    v1::ConfigurePoolRequest {
        reason: String::new(),
        org: "acme".into(),
        pool: "relay".into(),
        accounts: vec![account, follows],
        request_id: "r".into(),
        expected_version: Some(0),
        settings: None,
        dry_run: false,
    }
}

fn settings_request() -> v1::ConfigurePoolRequest {
    let settings = v1::PoolSettings {
        profile: v1::PoolProfile::Llm.into(),
        daily_limit: Some(100),
        safety_buffer: Some(0),
        window: "calendar/day".into(),
        per_minute: Some(60),
        cooldown_ms: Some(5_000),
        quarantine_ms: Some(6_000),
        quota_texts: vec!["per day".into(), "spent".into()],
    };
    let mut request = v1::ConfigurePoolRequest { settings: Some(settings), ..configure_request() };
    request.accounts[0].per_minute = Some(60);
    request
}

fn report_request() -> v1::ReportOutcomeRequest {
    v1::ReportOutcomeRequest {
        org: "acme".into(),
        pool: "relay".into(),
        account: "sk-one".into(),
        status: 429,
        error_text: "quota".into(),
        bytes_up: 10,
        bytes_down: 20,
        request_id: "r".into(),
        retry_after_ms: None,
        picked_at_ms: None,
    }
}

fn pick_request() -> v1::PickRequest {
    let acquire = Some(v1::AcquireRequest { mode: v1::Mode::Normal.into(), ..acquire_request() });
    v1::PickRequest { org: "acme".into(), pool: "relay".into(), request_id: "r".into(), acquire }
}

/// Requests of every rpc that has an id, by its name.
fn requests() -> Vec<(&'static str, DynamicMessage)> {
    let (org, request_id) = ("acme".to_owned(), "r".to_owned());
    let (session_id, identity) = ("s1".to_owned(), "vm 1".to_owned());
    let reservation_id = HOLD.to_owned();
    vec![
        ("Acquire", reflected(&acquire_request())),
        (
            "Acquire",
            reflected(&v1::AcquireRequest { org: org.clone(), request_id: request_id.clone(), ..Default::default() }),
        ),
        (
            "Commit",
            reflected(&v1::CommitRequest {
                org: org.clone(),
                reservation_id: reservation_id.clone(),
                request_id: request_id.clone(),
                actual: vec![amount("spend", 5)],
            }),
        ),
        (
            "Release",
            reflected(&v1::ReleaseRequest {
                org: org.clone(),
                reservation_id: reservation_id.clone(),
                request_id: request_id.clone(),
            }),
        ),
        (
            "Extend",
            reflected(&v1::ExtendRequest {
                org: org.clone(),
                reservation_id,
                request_id: request_id.clone(),
                ttl_ms: 5_000,
            }),
        ),
        (
            "Resume",
            reflected(&v1::ResumeRequest {
                org: org.clone(),
                execution_id: "e".into(),
                request_id: request_id.clone(),
            }),
        ),
        (
            "Record",
            reflected(&v1::RecordRequest {
                org: org.clone(),
                scope: "team/a".into(),
                usage: vec![amount("spend", 5), amount("bytes", 0)],
                request_id: request_id.clone(),
                decision_id: HOLD.into(),
                scopes: Vec::new(),
                occurred_at_ms: 0,
            }),
        ),
        (
            "ReportCumulative",
            reflected(&v1::ReportCumulativeRequest {
                org: org.clone(),
                scope: "team/a".into(),
                source: "meter-1".into(),
                incarnation: "boot 1".into(),
                meter: "bytes".into(),
                total: 1_000,
                request_id: request_id.clone(),
                scopes: Vec::new(),
            }),
        ),
        (
            "Freeze",
            reflected(&admin::FreezeRequest {
                org: org.clone(),
                request_id: request_id.clone(),
                reason: "unpaid".into(),
                ..Default::default()
            }),
        ),
        (
            "Unfreeze",
            reflected(&admin::UnfreezeRequest {
                org: org.clone(),
                request_id: request_id.clone(),
                ..Default::default()
            }),
        ),
        ("UpdateBudget", reflected(&update_request())),
        ("UpdateBudget", reflected(&v1::UpdateBudgetRequest { budget_limit: Some(7), ..update_request() })),
        ("UpdateBudget", reflected(&v1::UpdateBudgetRequest { budget_limit_cents: Some(7), ..update_request() })),
        ("UpdateBudget", reflected(&v1::UpdateBudgetRequest { clear_budget_limit: true, ..update_request() })),
        ("ReplaceBudget", reflected(&replace_request())),
        ("ReplaceBudget", reflected(&v1::ReplaceBudgetRequest { budget_limit: Some(7), ..replace_request() })),
        ("ReplaceBudget", reflected(&v1::ReplaceBudgetRequest { budget_limit_cents: Some(7), ..replace_request() })),
        (
            "StartSession",
            reflected(&v1::StartSessionRequest {
                org: org.clone(),
                session_id: session_id.clone(),
                identity: identity.clone(),
                request_id: request_id.clone(),
                scope: "team/a".into(),
                plane: "p".into(),
                explain: true,
                scopes: Vec::new(),
            }),
        ),
        (
            "Heartbeat",
            reflected(&v1::HeartbeatRequest {
                org: org.clone(),
                session_id: session_id.clone(),
                identity: identity.clone(),
                incarnation: "boot 1".into(),
                total_seconds: 60,
                request_id: request_id.clone(),
            }),
        ),
        (
            "EndSession",
            reflected(&v1::EndSessionRequest {
                org: org.clone(),
                session_id: session_id.clone(),
                identity: identity.clone(),
                request_id: request_id.clone(),
                incarnation: "boot 1".into(),
                total_seconds: Some(0),
            }),
        ),
        (
            "EndSession",
            reflected(&v1::EndSessionRequest {
                org: org.clone(),
                session_id,
                identity,
                request_id: request_id.clone(),
                ..Default::default()
            }),
        ),
        ("ConfigurePool", reflected(&configure_request())),
        ("Pick", reflected(&pick_request())),
        ("Pick", reflected(&v1::PickRequest { acquire: None, ..pick_request() })),
        ("ReportOutcome", reflected(&report_request())),
        ("ConfigurePool", reflected(&settings_request())),
        (
            "ReportOutcome",
            reflected(&v1::ReportOutcomeRequest { retry_after_ms: Some(0), picked_at_ms: Some(0), ..report_request() }),
        ),
        (
            "ClearAccount",
            reflected(&v1::ClearAccountRequest {
                org,
                pool: "relay".into(),
                account: "sk-one".into(),
                request_id,
                ..Default::default()
            }),
        ),
    ]
    .into_iter()
    .chain(requests_of_several_scopes())
    .chain(requests_of_operators())
    .collect()
}

/// The fingerprint of a call that names several scopes is of a later version.
fn requests_of_several_scopes() -> [(&'static str, DynamicMessage); 5] {
    let scopes = || vec!["agent/7".to_owned()];
    let acquire = v1::AcquireRequest { scopes: scopes(), ..acquire_request() };
    let gated = v1::AcquireRequest { mode: v1::Mode::Normal.into(), ..acquire.clone() };
    let record = v1::RecordRequest {
        org: "acme".into(),
        scope: "team/a".into(),
        usage: vec![amount("spend", 5)],
        request_id: "r".into(),
        scopes: scopes(),
        ..Default::default()
    };
    let report = v1::ReportCumulativeRequest {
        org: "acme".into(),
        scope: "team/a".into(),
        source: "meter-1".into(),
        incarnation: "boot 1".into(),
        meter: "bytes".into(),
        total: 1_000,
        request_id: "r".into(),
        scopes: scopes(),
    };
    let start = v1::StartSessionRequest {
        org: "acme".into(),
        session_id: "s1".into(),
        identity: "vm 1".into(),
        request_id: "r".into(),
        scope: "team/a".into(),
        scopes: scopes(),
        ..Default::default()
    };
    [
        ("Acquire", reflected(&acquire)),
        ("Record", reflected(&record)),
        ("ReportCumulative", reflected(&report)),
        ("StartSession", reflected(&start)),
        ("Pick", reflected(&v1::PickRequest { acquire: Some(gated), ..pick_request() })),
    ]
}

/// What is set at run time.
fn requests_of_operators() -> Vec<(&'static str, DynamicMessage)> {
    let (org, request_id, reason) = ("acme".to_owned(), "r".to_owned(), "why".to_owned());
    let set = admin::SetOverrideRequest {
        org: org.clone(),
        scope: "team/a".into(),
        request_id: request_id.clone(),
        limit: "budget/bytes/rolling/11h".into(),
        amount: Some(7),
        for_ms: 5_000,
        expected_version: Some(0),
        reason: reason.clone(),
        ..Default::default()
    };
    let lifted = admin::SetOverrideRequest {
        setting: admin::OverrideSetting::Unlimited.into(),
        amount: None,
        for_ms: 0,
        until_ms: 5,
        ..set.clone()
    };
    let clear = admin::ClearOverrideRequest {
        org: org.clone(),
        scope: set.scope.clone(),
        request_id: request_id.clone(),
        limit: set.limit.clone(),
        expected_version: Some(0),
        reason: reason.clone(),
        dry_run: false,
    };
    let plan = admin::SetPlanRequest {
        org: org.clone(),
        request_id: request_id.clone(),
        plan: "pro".into(),
        reason: reason.clone(),
        ..Default::default()
    };
    let none = admin::SetPlanRequest { change: admin::PlanChange::None.into(), plan: String::new(), ..plan.clone() };
    let exempt = admin::SetExemptionRequest {
        org: org.clone(),
        request_id: request_id.clone(),
        change: admin::ExemptionChange::NotExempt.into(),
        reason: reason.clone(),
        ..Default::default()
    };
    let refund = admin::RefundRequest {
        org: org.clone(),
        request_id: request_id.clone(),
        amounts: vec![v1::Amount { meter: "spend".into(), amount: 5_000_000 }],
        scope: "workspace/w1".into(),
        at_ms: 1_795_392_000_000,
        reason: reason.clone(),
        ..Default::default()
    };
    let executions = v1::Amount { meter: "executions".into(), amount: 3 };
    let of_several = admin::RefundRequest {
        amounts: refund.amounts.iter().cloned().chain([executions]).collect(),
        scopes: vec!["agent/7".into()],
        ..refund.clone()
    };
    let of_decision = admin::RefundRequest {
        decision_id: "0123456789abcdef0123456789abcdef".into(),
        amounts: vec![],
        scope: String::new(),
        at_ms: 0,
        ..refund.clone()
    };
    let grant = admin::GrantRequest {
        org: org.clone(),
        scope: "team/a".into(),
        request_id: request_id.clone(),
        limit: "budget/bytes/rolling/11h".into(),
        amount: 7,
        for_ms: 5_000,
        reason: reason.clone(),
        ..Default::default()
    };
    let until = admin::GrantRequest { for_ms: 0, until_ms: 5, ..grant.clone() };
    let reset = admin::ResetWindowRequest {
        org: org.clone(),
        scope: "team/a".into(),
        request_id: request_id.clone(),
        limit: "budget/bytes/rolling/11h".into(),
        reason: reason.clone(),
        dry_run: false,
    };
    let rename = admin::RenameOrgRequest {
        org: org.clone(),
        to: "acme-corp".into(),
        request_id: request_id.clone(),
        reason: reason.clone(),
        claim_for: String::new(),
        dry_run: false,
    };
    let revoke = admin::RevokeGrantRequest { org, request_id, grant: 3, reason, dry_run: false };
    vec![
        ("SetOverride", reflected(&set)),
        ("SetOverride", reflected(&lifted)),
        ("ClearOverride", reflected(&clear)),
        ("SetPlan", reflected(&plan)),
        ("SetPlan", reflected(&none)),
        ("SetExemption", reflected(&exempt)),
        ("Refund", reflected(&refund)),
        ("Refund", reflected(&of_decision)),
        ("Refund", reflected(&of_several)),
        ("Grant", reflected(&grant)),
        ("Grant", reflected(&until)),
        ("RevokeGrant", reflected(&revoke)),
        ("ResetWindow", reflected(&reset)),
        ("RenameOrg", reflected(&rename)),
    ]
}

fn reflected<M: Message + Name>(message: &M) -> DynamicMessage {
    let descriptor = descriptors().unwrap().get_message_by_name(&M::full_name()).unwrap();
    let mut reflected = DynamicMessage::new(descriptor);
    reflected.transcode_from(message).unwrap();
    reflected
}

/// What the conversion of the rpc takes the request for.
fn fingerprint(rpc: &str, request: &DynamicMessage) -> Parsed<u64> {
    let bytes = request.encode_to_vec();
    fn read<M: Message + Default>(bytes: &[u8]) -> M {
        M::decode(bytes).unwrap()
    }
    let idempotency = match rpc {
        "Acquire" => acquire(&read(&bytes))?.1.idempotency.clone(),
        "StartSession" => start_session(&read(&bytes))?.1.idempotency.clone(),
        "UpdateBudget" => Some(update_budget(&read(&bytes))?.1.idempotency),
        "ReplaceBudget" => Some(replace_budget(&read(&bytes))?.1.idempotency),
        "ReportOutcome" => report_outcome(&read(&bytes))?.1.idempotency,
        "ClearAccount" => Some(clear_account(&read(&bytes))?.1.idempotency),
        "Pick" => match pick(&read(&bytes))? {
            Pick::Alone(_, pick) => pick.idempotency,
            Pick::Gated(_, ask) => ask.idempotency.clone(),
        },
        "Commit" => Some(commit(&read(&bytes))?.1.idempotency),
        "Release" => Some(release(&read(&bytes))?.1.idempotency),
        "Extend" => Some(extend(&read(&bytes))?.1.idempotency),
        "Resume" => resume(&read(&bytes))?.1.idempotency,
        "Record" => Some(record(&read(&bytes))?.1.idempotency),
        "ReportCumulative" => Some(report_cumulative(&read(&bytes))?.1.idempotency),
        "Freeze" => Some(freeze(&read(&bytes))?.1.idempotency),
        "Unfreeze" => Some(unfreeze(&read(&bytes))?.1.idempotency),
        "SetOverride" => Some(set_override(&read(&bytes))?.1.idempotency),
        "ClearOverride" => Some(clear_override(&read(&bytes))?.1.idempotency),
        "SetPlan" => Some(set_plan(&read(&bytes))?.1.idempotency),
        "SetExemption" => Some(set_exemption(&read(&bytes))?.1.idempotency),
        "Refund" => Some(refund(&read(&bytes))?.1.idempotency),
        "Grant" => Some(grant(&read(&bytes))?.1.idempotency),
        "RevokeGrant" => Some(revoke_grant(&read(&bytes))?.1.idempotency),
        "ResetWindow" => Some(reset_window(&read(&bytes))?.1.idempotency),
        "RenameOrg" => match rename(&read(&bytes))?.1 {
            RenameAsk::Rename(rename) => Some(rename.idempotency),
            RenameAsk::Claim(_) => None,
        },
        "Heartbeat" => heartbeat(&read(&bytes))?.1.idempotency,
        "EndSession" => Some(end_session(&read(&bytes))?.1.idempotency),
        "ConfigurePool" => Some(configure_pool(&read(&bytes))?.1.idempotency),
        other => panic!("{other} has a request id: it needs a request in `requests`, and a line here"),
    };
    // Without an id nothing is compared; a number that no fingerprint has.
    Ok(idempotency.map_or(0, |idempotency| idempotency.fingerprint))
}

/// The request with one thing changed, by the path of the field that differs; some are refused as they
/// are not valid.
fn changed(request: &DynamicMessage) -> Vec<(String, DynamicMessage)> {
    let mut all = Vec::new();
    for field in request.descriptor().fields() {
        let name = field.name().to_owned();
        let mut push = |path: String, value: Option<Value>| {
            let mut other = request.clone();
            match value {
                Some(value) => other.set_field(&field, value),
                None => other.clear_field(&field),
            }
            all.push((path, other));
        };
        if request.has_field(&field) {
            push(name.clone(), None);
        } else if let Kind::Message(_) = field.kind()
            && !field.is_list()
            && !field.is_map()
        {
            push(name, Some(request.get_field(&field).into_owned()));
            continue;
        }
        for (below, value) in other_values(&request.get_field(&field)) {
            push(if below.is_empty() { name.clone() } else { format!("{name}.{below}") }, Some(value));
        }
    }
    all
}

/// Other values of the same type, with the path below the field where it is of a message in it.
fn other_values(value: &Value) -> Vec<(String, Value)> {
    let plain = |values: Vec<Value>| values.into_iter().map(|value| (String::new(), value)).collect();
    match value {
        Value::Bool(flag) => plain(vec![Value::Bool(!flag)]),
        Value::I32(number) => plain(vec![Value::I32(number + 1)]),
        Value::I64(number) => plain(vec![Value::I64(number + 1), Value::I64(number + 1_000)]),
        // 1 is the default of 0 written out.
        Value::EnumNumber(number) => plain((2..4).filter(|other| other != number).map(Value::EnumNumber).collect()),
        // A longer name, another id of hexadecimal digits, another window.
        Value::String(text) => {
            let digits = text.chars().rev().map(|c| if c == '1' { '3' } else { c }).collect::<String>();
            let digits: String = digits.chars().rev().collect();
            let others = [format!("{text}x"), digits, "rolling/24h".to_owned()];
            plain(others.into_iter().filter(|other| other != text).map(Value::String).collect())
        }
        Value::Message(message) => {
            changed(message).into_iter().map(|(path, message)| (path, Value::Message(message))).collect()
        }
        Value::List(items) => other_lists(items),
        Value::Map(entries) => {
            let mut all = Vec::new();
            for (key, value) in entries {
                let mut fewer = entries.clone();
                fewer.remove(key);
                all.push((String::new(), Value::Map(fewer)));
                for (below, value) in other_values(value) {
                    let mut other = entries.clone();
                    other.insert(MapKey::clone(key), value);
                    all.push((below, Value::Map(other)));
                }
            }
            all
        }
        other => panic!("{other:?}: a type that no request had"),
    }
}

fn other_lists(items: &[Value]) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for at in 0..items.len() {
        let mut fewer = items.to_vec();
        fewer.remove(at);
        all.push((String::new(), Value::List(fewer)));
        for (below, value) in other_values(&items[at]) {
            let mut other = items.to_vec();
            other[at] = value;
            all.push((below, Value::List(other)));
        }
    }
    all
}

/// Whether a field, by its path, is of those that no fingerprint covers.
fn is_label(rpc: &str, path: &str) -> bool {
    // Of a freeze it is in the message of each denial.
    path == "reason" && rpc != "Freeze"
        // Inside a pick there is one valid value of each.
        || path == "acquire.pool"
        || path == "acquire.mode"
        || path.rsplit('.').next().is_some_and(|name| LABELS.contains(&name))
}

/// Every field of a request and of the messages in it, by its path.
fn paths(message: &MessageDescriptor) -> Vec<String> {
    let mut all = Vec::new();
    for field in message.fields() {
        let name = field.name().to_owned();
        let value_is_message = |kind: Kind| kind.as_message().cloned();
        let below = match field.kind().as_message() {
            Some(entry) if field.is_map() => value_is_message(entry.map_entry_value_field().kind()),
            Some(message) => Some(message.clone()),
            None => None,
        };
        all.extend(below.iter().flat_map(paths).map(|path| format!("{name}.{path}")));
        all.push(name);
    }
    all
}

#[test]
fn every_field_of_a_request_is_covered_or_a_label() {
    let (mut covered, mut expected) = (BTreeSet::new(), BTreeSet::new());
    for (rpc, request) in requests() {
        expected.extend(paths(&request.descriptor()).into_iter().map(|path| (rpc, path)));
        let before = fingerprint(rpc, &request).unwrap();
        for (path, request) in changed(&request) {
            let Ok(after) = fingerprint(rpc, &request) else { continue };
            if path == "request_id" && after == 0 {
                continue;
            }
            assert_eq!(after == before, is_label(rpc, &path), "{rpc}: {path} of {}", shown(&request));
            covered.insert((rpc, path));
        }
    }
    let missing: Vec<_> = expected.difference(&covered).collect();
    assert!(missing.is_empty(), "no valid change of {missing:?} was tried");
}

#[test]
fn every_rpc_with_an_id_is_tried_here() {
    let with_id: BTreeSet<String> = descriptors()
        .unwrap()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(|method| method.input().get_field_by_name("request_id").is_some())
        .map(|method| method.name().to_owned())
        .filter(|name| !FORGETFUL.contains(&name.as_str()))
        .collect();
    let tried: BTreeSet<String> = requests().into_iter().map(|(rpc, _)| rpc.to_owned()).collect();
    assert_eq!(with_id, tried);
}

/// For ever: a node of the version beside this one has to find the same. In the order of [`requests`].
const GOLDEN: [(&str, u64); 47] = [
    ("Acquire", 0x7467_6602_0dfb_0c98),
    ("Acquire", 0x7467_6602_38d3_94c2),
    ("Commit", 0x7467_6602_56db_d98e),
    ("Release", 0x7467_6602_3449_47b9),
    ("Extend", 0x7467_6602_b13e_56c1),
    ("Resume", 0x7467_6602_05e2_9491),
    ("Record", 0x7467_6602_e0e6_d7b5),
    ("ReportCumulative", 0x7467_6602_7719_7376),
    ("Freeze", 0x7467_6602_85ab_543f),
    ("Unfreeze", 0x7467_6602_38d3_94c2),
    ("UpdateBudget", 0x7467_6602_f162_f93e),
    ("UpdateBudget", 0x7467_6602_0eb9_b0c9),
    ("UpdateBudget", 0x7467_6602_054e_ef28),
    ("UpdateBudget", 0x7467_6602_37dd_69f8),
    ("ReplaceBudget", 0x7467_6602_5b27_0584),
    ("ReplaceBudget", 0x7467_6602_c528_52cc),
    ("ReplaceBudget", 0x7467_6602_0b2f_cf3d),
    ("StartSession", 0x7467_6602_6668_4b26),
    ("Heartbeat", 0x7467_6602_c0ea_1ca0),
    ("EndSession", 0x7467_6602_905e_90ae),
    ("EndSession", 0x7467_6602_1e18_d626),
    ("ConfigurePool", 0x7467_6602_c32a_bfad),
    ("Pick", 0x7467_6602_fefb_9575),
    ("Pick", 0x7467_6602_05ca_343e),
    ("ReportOutcome", 0x7467_6602_b592_66f2),
    ("ConfigurePool", 0x7467_6603_84d1_ac87),
    ("ReportOutcome", 0x7467_6603_571e_b60d),
    ("ClearAccount", 0x7467_6602_8bc7_962c),
    ("Acquire", 0x7467_6603_bb08_c68c),
    ("Record", 0x7467_6603_e969_d2c1),
    ("ReportCumulative", 0x7467_6603_b815_f8e0),
    ("StartSession", 0x7467_6603_2224_8ee6),
    ("Pick", 0x7467_6603_fad8_404a),
    ("SetOverride", 0x7467_6602_cee8_5ed0),
    ("SetOverride", 0x7467_6602_758e_7d5c),
    ("ClearOverride", 0x7467_6602_108d_a06e),
    ("SetPlan", 0x7467_6602_0dd8_b322),
    ("SetPlan", 0x7467_6602_5d3e_bd10),
    ("SetExemption", 0x7467_6602_5d3e_bd10),
    ("Refund", 0x7467_6602_1fb3_6f42),
    ("Refund", 0x7467_6602_388f_d0ca),
    ("Refund", 0x7467_6603_fb5c_9b31),
    ("Grant", 0x7467_6602_336e_7d11),
    ("Grant", 0x7467_6602_668c_8b73),
    ("RevokeGrant", 0x7467_6602_d08d_ff36),
    ("ResetWindow", 0x7467_6602_4357_ef2e),
    ("RenameOrg", 0x7467_6602_3550_baf6),
];

#[test]
fn fingerprints_are_as_they_were_first_written() {
    let found = requests().into_iter().map(|(rpc, request)| (rpc, fingerprint(rpc, &request).unwrap()));
    let found: Vec<_> = found.map(|(rpc, found)| format!("{rpc} {found:#x}")).collect();
    let golden: Vec<_> = GOLDEN.iter().map(|(rpc, golden)| format!("{rpc} {golden:#x}")).collect();
    assert_eq!(found, golden);
}

fn of_acquire(change: impl FnOnce(&mut v1::AcquireRequest)) -> u64 {
    let (org, request_id) = ("acme".into(), "r".into());
    let mut request = v1::AcquireRequest { org, request_id, ..Default::default() };
    change(&mut request);
    fingerprint("Acquire", &reflected(&request)).unwrap()
}

#[test]
fn a_default_that_is_written_out_is_the_default_left_out() {
    let left_out = of_acquire(|_| ());
    for written_out in [
        of_acquire(|r| r.cost = vec![amount("executions", 1)]),
        of_acquire(|r| r.mode = v1::Mode::Normal.into()),
        of_acquire(|r| r.operation = v1::Operation::Execute.into()),
        of_acquire(|r| r.reservation_ttl_ms = 300_000),
        of_acquire(|r| r.plane = "another".into()),
        of_acquire(|r| r.explain = true),
    ] {
        assert_eq!(written_out, left_out, "R-PIPE-6");
    }
    assert_ne!(of_acquire(|r| r.cost = vec![amount("executions", 0)]), left_out, "nothing is not the default");
}

#[test]
fn scopes_are_one_set_in_whatever_fields_they_stand() {
    let of = |scope: &str, scopes: &[&str]| {
        let names = scopes.iter().map(|name| (*name).to_owned()).collect();
        of_acquire(|r| (r.scope, r.scopes) = (scope.into(), names))
    };
    let one = of("team/a", &[]);
    assert_eq!([of("", &["team/a"]), of("team/a", &["team/a"])], [one; 2], "R-PIPE-6");
    let two = of("team/a", &["agent/7"]);
    assert_eq!([of("agent/7", &["team/a"]), of("", &["team/a", "agent/7", "team/a"])], [two; 2], "R-PIPE-6");
    assert!(two != one && two != of("team/a", &["agent/8"]));
}

#[test]
fn the_older_ways_to_say_a_budget_mean_the_same() {
    let of = |request: v1::UpdateBudgetRequest| fingerprint("UpdateBudget", &reflected(&request)).unwrap();
    let monthly = |limit, clear| {
        let mut request = update_request();
        request.periods.insert("monthly".into(), v1::PeriodPatch { limit, clear });
        of(request)
    };
    let cents = v1::UpdateBudgetRequest { budget_limit_cents: Some(5), ..update_request() };
    let micros = v1::UpdateBudgetRequest { budget_limit: Some(50_000), ..update_request() };
    assert_eq!([of(cents), of(micros)], [monthly(Some(50_000), false); 2]);
    let cleared = v1::UpdateBudgetRequest { clear_budget_limit: true, ..update_request() };
    assert_eq!(of(cleared), monthly(None, true));
    assert_eq!(of(update_request()), monthly(None, false), "a period that stays as it is");
}

#[test]
fn a_window_is_the_same_in_whatever_unit_it_is_said() {
    let of = |window: &str| {
        let mut request = configure_request();
        request.accounts[0].window = window.into();
        fingerprint("ConfigurePool", &reflected(&request)).unwrap()
    };
    assert_eq!(of("rolling/1d"), of("rolling/24h"));
    assert_ne!(of("anchored/24h"), of(""), "the node's default may change later");
}

/// A request that shows as JSON.
#[derive(Clone)]
struct Shown(DynamicMessage);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

fn shown(request: &DynamicMessage) -> String {
    serde_json::to_string(request).unwrap()
}

/// A valid request of any rpc: one of the above, changed again and again.
fn any_request() -> impl Strategy<Value = (&'static str, Shown)> {
    let bases = requests();
    (0..bases.len(), prop::collection::vec(any::<prop::sample::Index>(), 0..8)).prop_map(move |(base, picks)| {
        let (rpc, mut request) = bases[base].clone();
        for pick in picks {
            let mut valid = changed(&request);
            valid.retain(|(_, other)| fingerprint(rpc, other).is_ok_and(|found| found != 0));
            if !valid.is_empty() {
                request = pick.get(&valid).1.clone();
            }
        }
        (rpc, Shown(request))
    })
}

/// Every list the other way round, in the messages inside as well.
fn backwards(request: &DynamicMessage) -> DynamicMessage {
    let mut other = request.clone();
    for (field, value) in request.fields() {
        match value {
            Value::List(items) => {
                other.set_field(&field, Value::List(items.iter().rev().cloned().collect()));
            }
            Value::Message(message) => other.set_field(&field, Value::Message(backwards(message))),
            _ => {}
        }
    }
    other
}

/// Whether a field, by its path, names scopes: two of them are one set.
fn is_scope(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|name| name == "scope" || name == "scopes")
}

/// The set of scopes that a request and the messages in it name.
fn named_scopes(request: &DynamicMessage) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (field, value) in request.fields() {
        match value {
            Value::String(name) if is_scope(field.name()) => names.extend([name.clone()]),
            Value::List(list) if is_scope(field.name()) => {
                names.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            Value::Message(message) => names.append(&mut named_scopes(message)),
            _ => {}
        }
    }
    names
}

/// A field that a later version may have, at the end of the request.
fn with_an_unknown_field(request: &DynamicMessage) -> DynamicMessage {
    let mut bytes = request.encode_to_vec();
    bytes.extend_from_slice(&[0xa0, 0x1f, 0x01]);
    DynamicMessage::decode(request.descriptor(), &*bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn labels_order_and_what_is_not_known_mean_nothing_and_everything_else_does((rpc, Shown(request)) in any_request()) {
        let meaning = fingerprint(rpc, &request).unwrap();
        prop_assert_eq!(fingerprint(rpc, &backwards(&request)).unwrap(), meaning);
        prop_assert_eq!(fingerprint(rpc, &with_an_unknown_field(&request)).unwrap(), meaning);
        for (path, other) in changed(&request) {
            let found = fingerprint(rpc, &other).unwrap_or(0);
            let same_scopes = named_scopes(&request) == named_scopes(&other);
            let is_label = is_label(rpc, &path) || is_scope(&path) && same_scopes;
            if found != 0 && is_label {
                prop_assert_eq!(found, meaning, "{} of {}", path, shown(&other));
            }
            // What is left out may have been a default that was written out.
            if found != 0 && !is_label && other.encoded_len() >= request.encoded_len() {
                prop_assert_ne!(found, meaning, "{} of {}", path, shown(&other));
            }
        }
    }
}
