//! The sections that become the policies of orgs: plans, orgs, and what holds for all of them.

use serde_json::{Value, json};

use super::{
    IDS, Keys, LENGTH, amount, choice, duration, id, key, keys, lengths, list, name, name_or_none, named, named_values,
    on_indeterminate, or, or_text, pattern, table, truth, whole, with,
};
use crate::{
    bounds::{
        HOUR_MS, QUOTA_TEXT_BYTES, QUOTA_TEXTS, ROUTE_AVOIDED_MAX_MS, SCOPE_BYTES, SCOPES_PER_CALL, SECOND_MS,
        SESSION_GRACE_MAX_MS, SESSION_HEARTBEAT_MAX_MS, SESSION_MISSED_MAX, SESSION_SLICE_MAX_MS,
    },
    config::{
        Config,
        hints::EVERY_ORG,
        limits::{CALENDARS, METERS, RESERVED, WITH_LENGTH, ZONE_RULE, amount_rule},
        policies::IDLE_WINDOWS_MAX,
        pools::{self, STATS},
        sessions::SESSIONS_MAX,
    },
    domain::{
        ids::Meter,
        policy::{PoolRules, Profile, RateLimit, SessionPolicy},
        window::{Length, Millis, PERIODS},
    },
};

/// `ids::is_meter`.
pub(super) const METER: &str = "^[a-z][a-z0-9_]{0,63}$";
/// `money::micro_usd`.
const MONEY: &str = r"\$(0|[1-9][0-9]*)(\.[0-9]{1,6})?|(0|[1-9][0-9]*)(\.[0-9]{1,6})?usd|(0|[1-9][0-9]*)u";
/// What the definitions are called: how amounts of a meter are written.
const KINDS: [(&str, &str); 3] = [("spend", "spend"), ("compute", "compute"), ("counted", "executions")];

pub(super) fn sections(config: &Config) -> Keys {
    let policy = config.policies.policy_of_unlisted();
    let emergency = "Calls of one org per hour and node in an outage that leaves nothing to bound the org; by default as many as the backstop.";
    let budgets = "Where a limit that is set at run time cannot be understood.";
    keys([
        ("rate", backstop(&policy.rate)),
        ("emergency", table("The emergency cap. It cannot be off.", keys([("amount", key(emergency, amount(1)))]))),
        (
            "defaults",
            table(
                "What holds for every org.",
                keys([("plan", or("The plan of every org that names none; \"\" is none.", name_or_none(), ""))]),
            ),
        ),
        (
            "budgets",
            table(
                "Limits on spend that are set at run time.",
                keys([("on_indeterminate", or(budgets, on_indeterminate(), "allow"))]),
            ),
        ),
        ("sessions", sessions(&policy.sessions)),
        ("pools", of_pools(&policy.pools.rules)),
        ("plans", named("Sets of limits, each under a name.", name(), plan())),
        ("orgs", orgs()),
    ])
}

/// Shared by plans, orgs and scopes.
pub(super) fn definitions() -> Keys {
    let mut all = Keys::new();
    for (kind, meter) in KINDS {
        all.insert(format!("{kind}_windows"), windows(kind, meter));
        for zoned in [false, true] {
            all.insert(limit_name(kind, zoned), limit(meter, zoned));
        }
    }
    all.insert("limits".to_owned(), limits_of_scope());
    all.insert("scopes".to_owned(), scopes());
    all.insert("org".to_owned(), org());
    all
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/definitions/{definition}")})
}

/// A reference that has a description: what stands beside `$ref` itself is not read.
fn described(doc: &str, definition: &str) -> Value {
    json!({"description": doc, "allOf": [reference(definition)]})
}

fn backstop(default: &RateLimit) -> Value {
    table(
        "The backstop against abuse: calls of one org per window, whatever they cost.",
        keys([
            ("amount", or("Calls per window, or \"off\".", or_text(amount(1), "off"), default.amount)),
            ("window", aligned(Some(default.len))),
            (
                "idle_windows",
                or(
                    "Whole windows without a call after which the record of an org is removed.",
                    whole(1, IDLE_WINDOWS_MAX),
                    default.idle_windows,
                ),
            ),
            ("on_indeterminate", or("Where the count cannot be evaluated.", on_indeterminate(), "allow")),
        ]),
    )
}

/// `{ aligned = "1h" }`.
fn aligned(default: Option<Millis>) -> Value {
    let doc = "Aligned to the clock: \"1h\" is the clock hour. Whole seconds.";
    let aligned = match default {
        Some(default) => or(doc, lengths(), Length(default).to_string()),
        None => key(doc, lengths()),
    };
    table("The window.", keys([("aligned", aligned)]))
}

fn rate() -> Value {
    table(
        "The backstop against abuse for these orgs.",
        keys([("amount", key("Calls per window.", amount(1))), ("window", aligned(None))]),
    )
}

fn sessions(default: &SessionPolicy) -> Value {
    let text = |length: Millis| Length(length).to_string();
    let slice = duration(SECOND_MS, SESSION_SLICE_MAX_MS);
    table(
        "Long-running executions that pay for their machine time as they run.",
        keys([
            (
                "enforce",
                or(
                    "false: usage accrues, and neither max_sessions nor a quota on compute denies or stops.",
                    truth(),
                    default.enforce,
                ),
            ),
            ("first_slice", or("Compute that a start reserves.", slice.clone(), text(default.first_slice))),
            (
                "heartbeat",
                or(
                    "Time between two heartbeats.",
                    duration(SECOND_MS, SESSION_HEARTBEAT_MAX_MS),
                    text(default.heartbeat),
                ),
            ),
            (
                "missed",
                or(
                    "Heartbeats that may be missed before the grace begins.",
                    whole(1, SESSION_MISSED_MAX),
                    default.missed,
                ),
            ),
            (
                "grace",
                or(
                    "Time to save and end after a stop.",
                    duration(SECOND_MS, SESSION_GRACE_MAX_MS),
                    text(default.grace),
                ),
            ),
            ("clamp", or("Most that one heartbeat records; at least `heartbeat`.", slice, text(default.clamp))),
        ]),
    )
}

fn of_pools(default: &PoolRules) -> Value {
    let text = |length: Millis| Length(length).to_string();
    let mut all = pool();
    let defaults: [(&str, Value); 5] = [
        ("daily_limit", default.daily_limit.into()),
        ("safety_buffer", default.safety_buffer.into()),
        ("cooldown", text(default.cooldown).into()),
        ("quarantine", text(default.quarantine).into()),
        ("profile", default.profile.name().into()),
    ];
    for (key, default) in defaults {
        if let Some(Value::Object(allowed)) = all.get_mut(key) {
            allowed.insert("default".to_owned(), default);
        }
    }
    let of_name = table("The pools of this name.", pool());
    all.insert(
        "stats".to_owned(),
        or(
            "How often a line of the log has the sums over all pools.",
            duration(SECOND_MS, HOUR_MS),
            super::length(STATS),
        ),
    );
    all.insert("named".to_owned(), named("Pools of one name, in every org.", id(), of_name));
    table("Upstream accounts with a quota of their own.", all)
}

/// What may be said of all pools, and of those of one name.
fn pool() -> Keys {
    let texts = json!({"type": "string", "minLength": 1, "maxLength": QUOTA_TEXT_BYTES, "pattern": r"\S"});
    let window = table(
        "One window, such as { anchored = \"24h\" }.",
        keys([
            ("aligned", key("Aligned to the clock.", lengths())),
            ("anchored", key("Begins with the first call.", lengths())),
            ("rolling", key("Rolling: whole minutes up to 1h, whole hours from there.", lengths())),
            ("calendar", key("Of the calendar.", named_values(&pools::CALENDARS))),
            ("zone", key("Only with calendar.", zone())),
        ]),
    );
    let one = json!([{"maxProperties": 0}, {"required": ["aligned"]}, {"required": ["anchored"]}, {"required": ["rolling"]}, {"required": ["calendar"]}]);
    let window = with(with(window, "oneOf", one), "dependencies", json!({"zone": ["calendar"]}));
    keys([
        (
            "profile",
            key("What the answers of upstreams mean.", choice(Profile::ALL.iter().map(|profile| profile.name()))),
        ),
        ("daily_limit", key("Calls of an account per window.", amount(0))),
        ("safety_buffer", key("The part of them that is held back.", amount(0))),
        ("window", window),
        ("per_minute", key("Calls of an account per clock minute; unlimited where it is left out.", amount(0))),
        ("cooldown", key("How long a route is avoided after a failure.", duration(SECOND_MS, ROUTE_AVOIDED_MAX_MS))),
        ("quarantine", key("How long a route is avoided after a refusal.", duration(SECOND_MS, ROUTE_AVOIDED_MAX_MS))),
        ("quota_texts", key("What an upstream says when a quota is used up.", list(texts, 0, QUOTA_TEXTS))),
    ])
}

fn plan() -> Value {
    let then = key("The plan after a trial; \"\" is none.", name_or_none());
    layer("A plan.", keys([("then", then)]))
}

fn org() -> Value {
    let instant = json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}"});
    let own = keys([
        ("plan", key("Its plan; \"\" is none.", name_or_none())),
        ("billing_anchor", key("The day on which its month begins.", whole(1, 31))),
        (
            "trial_ends",
            key("A day, or an instant with its zone, from which it has the plan that `then` names.", instant),
        ),
    ]);
    layer("An org, by its id. Its limits replace those of its plan for the same meter and window.", own)
}

fn orgs() -> Value {
    let listed =
        list(json!({"type": "string", "pattern": r"^[!-)+-~]*\*?$", "minLength": 1}), 1, usize::from(u16::MAX));
    let admit = json!({
        "description": "Which orgs there may be: any, those with a section, or also those of a list.",
        "default": "any",
        "anyOf": [choice(["any", "listed"]), listed, reference("org")],
    });
    let names = with(id(), "not", json!({"enum": EVERY_ORG}));
    with(named("What holds for one org each.", names, reference("org")), "properties", json!({"admit": admit}))
}

/// What plans and orgs may say; every other key is a meter of the operator's.
fn layer(doc: &str, own: Keys) -> Value {
    let mut all = keys([
        ("rate", rate()),
        ("exempt", key("The rate backstop does not limit it.", truth())),
        ("scopes", described("Limits of scopes, by their names or what they begin with.", "scopes")),
        ("require_scopes", key("Of each of these a call must name one.", list(pattern(&scope()), 0, SCOPES_PER_CALL))),
        (
            "included",
            key(
                "Executions per month that are included, with billing.provider = \"static\".",
                or_text(amount(0), "unlimited"),
            ),
        ),
        ("overage", key("More than what is included is let through.", truth())),
        (
            "overrun",
            key(
                "What becomes of usage over a limit: the first usage of the next window, or nothing.",
                choice(["carry", "forget"]),
            ),
        ),
        ("max_sessions", key("Sessions at once.", or_text(whole(0, SESSIONS_MAX), "unlimited"))),
        ("trial", key("Its compute is there once, not again every month.", truth())),
    ]);
    all.extend(own);
    with_meters(doc, all)
}

/// A key that means something elsewhere is no meter here.
fn with_meters(doc: &str, mut properties: Keys) -> Value {
    for reserved in RESERVED {
        properties.entry(reserved).or_insert(Value::Bool(false));
    }
    for meter in METERS {
        let kind = KINDS.iter().find(|(kind, _)| *kind == meter).map_or("counted", |(kind, _)| kind);
        properties
            .insert(meter.to_owned(), described(&format!("Limits on {meter}, by window."), &format!("{kind}_windows")));
    }
    let other = described("Limits on a meter of your own, by window.", "counted_windows");
    json!({
        "type": "object", "description": doc, "properties": properties,
        "propertyNames": {"pattern": METER}, "additionalProperties": other,
    })
}

fn limits_of_scope() -> Value {
    with_meters("Limits of a scope.", Keys::new())
}

/// A scope, or the beginning of several and `*`.
fn scope() -> String {
    format!(r"^(\*|{IDS})$")
}

fn scopes() -> Value {
    let names = json!({"pattern": scope(), "maxLength": SCOPE_BYTES + 1});
    named("A scope, or a prefix and `*`.", names, json!({"anyOf": [reference("limits"), {"const": "deny"}]}))
}

fn limit_name(kind: &str, zoned: bool) -> String {
    format!("{kind}_limit{}", if zoned { "_of_calendar" } else { "" })
}

fn windows(kind: &str, meter: &str) -> Value {
    let (plain, zoned) = (reference(&limit_name(kind, false)), reference(&limit_name(kind, true)));
    let periods = PERIODS.iter().map(|(name, _)| ((*name).to_owned(), plain.clone()));
    let calendars = CALENDARS.iter().map(|(name, _)| ((*name).to_owned(), zoned.clone()));
    let kinds: Vec<_> = WITH_LENGTH.iter().map(|(kind, _)| kind.trim_end_matches('_')).collect();
    let of_length = Keys::from_iter([(format!("^({})_{LENGTH}$", kinds.join("|")), plain.clone())]);
    let doc = format!(
        "Limits by window: rolling, of the calendar (UTC or a zone), aligned to the clock, or from the first use. Each is {}.",
        rule(meter)
    );
    with(table(&doc, periods.chain(calendars).collect()), "patternProperties", of_length.into())
}

fn rule(meter: &str) -> String {
    Meter::parse("meter", meter).map(|meter| amount_rule(&meter)).unwrap_or_default()
}

/// An amount, or a table with it.
fn limit(meter: &str, zoned: bool) -> Value {
    let counted = || match meter {
        Meter::SPEND => vec![pattern(&format!("^({MONEY})$"))],
        Meter::COMPUTE => vec![amount(0), lengths()],
        _ => vec![amount(0)],
    };
    let mut amounts = counted();
    amounts.push(if meter == Meter::SPEND { choice(["block", "unlimited"]) } else { choice(["unlimited"]) });
    let amounts = json!({"anyOf": amounts});
    let mut details = keys([
        ("amount", key("The amount.", amounts.clone())),
        (
            "buffer",
            or(
                "The part of it that is held back.",
                json!({"anyOf": counted()}),
                if meter == Meter::SPEND { json!("0u") } else { json!(0) },
            ),
        ),
        ("shadow", or("It is reported and denies nothing.", truth(), false)),
        ("zone", Value::Bool(false)),
    ]);
    if zoned {
        details.insert("zone".to_owned(), key("Whose midnights hold.", zone()));
    }
    let details = with(table("An amount with more to say.", details), "required", json!(["amount"]));
    json!({"description": format!("{}, or \"unlimited\".", rule(meter)), "anyOf": [amounts, details]})
}

fn zone() -> Value {
    with(pattern("^[A-Za-z0-9_+/-]+$"), "description", format!("{ZONE_RULE}.").into())
}
