//! The sections that describe a node.

use serde_json::{Value, json};

use super::{
    Keys, address, choice, duration, file, key, keys, length, lengths, list, name, named, named_values, needs,
    on_indeterminate, or, or_text, pattern, safe_url, table, truth, whole,
};
use crate::{
    auth::Role,
    bounds::{Applies, Bound, CELLS_MAX, DAY_MS, HOUR_MS, MINUTE_MS, PRINCIPAL_BYTES, SECOND_MS},
    config::{
        Config, Durability, Listen, LogFormat, LogLevel, MetricsFor, OverageBehavior, TokenStore,
        auth::{
            grants::LISTED,
            jwt::{REGISTERED, ROLES, TEXT_BYTES},
        },
        billing::{
            BillingRules, Choice, FREE_PLANS_MAX, REVALIDATE_MIN_MS, TIMEOUT_MAX_MS, TIMEOUT_MIN_MS, URL_BYTES_MAX,
            autumn,
        },
        cluster::WEIGHT_MAX,
        sections::{ONE_IN_MAX, WRITE_BEHIND_COUNT_MAX, WRITE_BEHIND_MS_MAX},
        webhook,
    },
    domain::{events::EventKind, window::Length},
};

pub(super) fn sections(config: &Config) -> Keys {
    keys([
        ("listen", listen(&config.listen)),
        ("cors", cors()),
        ("tls", tls()),
        ("auth", auth()),
        ("cluster", cluster()),
        ("data", data(config)),
        ("durability", durability(&config.durability)),
        ("bounds", bounds()),
        ("billing", billing(&config.billing.rules)),
        ("webhook", webhook()),
        (
            "node",
            table(
                "This node.",
                keys([("name", key("Its name in replies and logs; by default that of the host.", name()))]),
            ),
        ),
        ("log", log(config)),
        ("tracing", tracing(config)),
        ("reload", reload()),
    ])
}

fn listen(default: &Listen) -> Value {
    let each = |doc, default: std::net::SocketAddr| or(doc, address(), default.to_string());
    table(
        "Where the node accepts connections.",
        keys([
            ("grpc", each("The port of rpcs.", default.grpc)),
            ("http", each("The port of the same rpcs, health, metrics and webhooks.", default.http)),
            ("peer", each("The port of other nodes of the cluster.", default.peer)),
        ]),
    )
}

fn tracing(config: &Config) -> Value {
    let collector = pattern(r"^https?://[^/@#?\s]+/?$");
    table(
        "Where spans of calls are sent.",
        keys([
            ("endpoint", key("A collector of OpenTelemetry that takes OTLP over gRPC.", collector)),
            (
                "one_in",
                or(
                    "One in so many calls of which no caller has a trace; 0 = none.",
                    whole(0, ONE_IN_MAX),
                    config.tracing.one_in,
                ),
            ),
        ]),
    )
}

fn cors() -> Value {
    let one = pattern(r"^https?://[^/@#?\s]+$");
    let origins = json!({"anyOf": [{"type": "array", "items": one}, {"const": ["*"]}]});
    let doc = "Origins of pages of other sites that may call, such as https://app.example.com; [\"*\"] is every page.";
    table("Pages of other sites that may call.", keys([("origins", or(doc, origins, json!([])))]))
}

fn tls() -> Value {
    let section = table(
        "The certificate of both listeners; without it they speak in the clear.",
        keys([
            ("cert", key("The file of the chain in PEM, the node's own certificate first.", file())),
            ("key", key("The file of its private key in PEM.", file())),
        ]),
    );
    needs(section, &["cert", "key"])
}

fn auth() -> Value {
    table(
        "Who may call. Without tokens, token_store, jwt and certificates everybody may.",
        keys([
            ("tokens", key("The file of bearer tokens, which `tollgate token` writes.", file())),
            (
                "token_store",
                key(
                    "Where tokens are in place of a file: in the PostgreSQL of [cluster].",
                    named_values(&TokenStore::NAMES),
                ),
            ),
            (
                "metrics",
                or(
                    "Who may read /metrics: everybody, or a viewer of all orgs.",
                    named_values(&MetricsFor::NAMES),
                    "open",
                ),
            ),
            ("jwt", jwt()),
            ("certificates", certificates()),
        ]),
    )
}

fn jwt() -> Value {
    let text = || json!({"type": "string", "minLength": 1, "maxLength": TEXT_BYTES});
    let claim = json!({"type": "string", "minLength": 1, "maxLength": TEXT_BYTES, "not": {"enum": REGISTERED}});
    let section = table(
        "Signed tokens of one issuer.",
        keys([
            ("issuer", key("What the claim iss has to be.", text())),
            ("audience", key("What the claim aud has to name.", text())),
            ("jwks", key("Its keys: the path of a file, or an https URL.", file())),
            ("ca", key("The file of the only CAs that are trusted at the URL.", file())),
            ("claim", key("A claim that grants {role, orgs, scopes, bind} to subjects that are not listed.", claim)),
            ("subjects", grants("What the claim sub is granted, by its name, whole or ending in *.", "jwt:", &ROLES)),
        ]),
    );
    super::with(section, "required", json!(["issuer", "audience", "jwks"]))
}

fn certificates() -> Value {
    let doc = "What the names of a certificate are granted: a URI or a DNS name, whole or ending in *.";
    let section = table(
        "Certificates that callers show. Needs [tls].",
        keys([
            ("ca", key("The file of the CAs that vouch for them, in PEM.", file())),
            ("principals", grants(doc, "cert:", &Role::ALL)),
        ]),
    );
    super::with(section, "required", json!(["ca", "principals"]))
}

fn grants(doc: &str, kind: &str, roles: &[Role]) -> Value {
    let texts = || list(json!({"type": "string"}), 0, LISTED);
    let grant = table(
        "What the name is granted.",
        keys([
            ("role", key("What it may do.", choice(roles.iter().map(|role| role.name())))),
            ("orgs", key("Which orgs it may reach: \"acme\", \"acme-*\", or \"*\" for all.", texts())),
            ("scopes", key("Which scopes it may name; all where it is empty.", texts())),
            ("bind", key("Scopes that each of its calls is in, whatever it names.", texts())),
        ]),
    );
    let names = json!({"pattern": r"^[!-)+-~]*\*?$", "minLength": 1, "maxLength": PRINCIPAL_BYTES - kind.len()});
    named(doc, names, super::with(grant, "required", json!(["role", "orgs"])))
}

fn cluster() -> Value {
    let host = || pattern(r"^[A-Za-z0-9.\-_\[\]:]{1,253}:[0-9]{1,5}$");
    let files = table(
        "What nodes show to each other: a certificate of one CA with the DNS name peer.tollgate.internal.",
        keys([
            ("cert", key("The file of the chain in PEM.", file())),
            ("key", key("The file of its private key in PEM.", file())),
            ("ca", key("The file of the CA of the cluster, in PEM.", file())),
        ]),
    );
    let urls = super::with(list(json!({"type": "string"}), 1, CELLS_MAX), "uniqueItems", json!(true));
    let section = table(
        "Nodes that share PostgreSQL, in place of a data directory: docs/cluster.md.",
        keys([
            (
                "postgres_urls",
                key("postgres://USER@HOST:PORT/DATABASE, one for each database, in an order that never changes.", urls),
            ),
            ("advertise", key("HOST:PORT where other nodes reach this one; by default listen.peer.", host())),
            ("advertise_grpc", key("HOST:PORT where callers reach this one; by default listen.grpc.", host())),
            ("weight", or("Its part of the orgs is this among the sum of all nodes.", whole(1, WEIGHT_MAX.into()), 1)),
            ("tls", needs(files, &["cert", "key", "ca"])),
        ]),
    );
    needs(section, &["postgres_urls"])
}

fn data(config: &Config) -> Value {
    let dir = or("The directory, which belongs to one node at a time.", file(), config.data_dir.display().to_string());
    table("Where the store of a node keeps its files.", keys([("dir", dir)]))
}

fn durability(default: &Durability) -> Value {
    let behind =
        "Milliseconds after which a plain admission that was answered is written; 0: every reply waits for the disk.";
    let most = "Admissions of one org that may be unwritten; further ones wait.";
    table(
        "How far plain admissions may run ahead of the disk.",
        keys([
            ("write_behind_ms", or(behind, whole(0, WRITE_BEHIND_MS_MAX.into()), default.write_behind_ms)),
            ("write_behind_max", or(most, whole(1, WRITE_BEHIND_COUNT_MAX.into()), default.write_behind_max)),
        ]),
    )
}

fn bounds() -> Value {
    let one = |bound: &Bound| {
        let when = match bound.applies() {
            Applies::Live => "Takes effect with a reload.",
            Applies::AtStart => "Takes effect with a restart.",
        };
        let range = whole(bound.least().into(), bound.most().into());
        (bound.name().to_owned(), or(&format!("{} {when}", bound.doc()), range, bound.default()))
    };
    table("Every maximum that may be moved.", Bound::ALL.iter().map(one).collect())
}

fn log(config: &Config) -> Value {
    let level = or("The least severe line that is written.", named_values(&LogLevel::NAMES), config.log.level.as_str());
    let format = or("How a line is written.", named_values(&LogFormat::NAMES), "text");
    table("What the node writes to stderr.", keys([("level", level), ("format", format)]))
}

fn reload() -> Value {
    let doc = "A reload may take away every plan, or every limit of an org that has usage. Remove it when it is done.";
    table("What a reload may do.", keys([("accept_lost_limits", or(doc, truth(), false))]))
}

fn webhook() -> Value {
    let kinds = list(choice(EventKind::ALL.iter().map(|kind| kind.name())), 1, EventKind::ALL.len() * 2);
    let timeout = duration(webhook::TIMEOUT_MIN_MS, webhook::TIMEOUT_MAX_MS);
    let section = table(
        "Who receives events, as signed messages.",
        keys([
            ("url", key("Where each event is posted: https, or http on this machine.", safe_url())),
            ("secret_file", key("The file of what messages are signed with, whsec_ and base64; mode 0600.", file())),
            ("kinds", key("The kinds of events that are delivered; all where it is not written.", kinds)),
            ("timeout", or("The time for one delivery.", timeout, length(webhook::TIMEOUT))),
        ]),
    );
    super::with(section, "dependencies", json!({"url": ["secret_file"], "secret_file": ["url"]}))
}

fn billing(default: &BillingRules) -> Value {
    let mut all = remembered(default);
    all.extend(reported(default));
    all.extend(without_an_answer(default));
    all.insert("autumn".to_owned(), of_autumn());
    table("Who keeps the balances of executions, and how its answers are used.", all)
}

fn remembered(default: &BillingRules) -> Keys {
    let ttl = || duration(SECOND_MS, HOUR_MS);
    let rule =
        format!("A duration from {} to {}, or \"off\". Only with \"autumn\".", Length(SECOND_MS), Length(DAY_MS));
    let stale = super::with(or_text(lengths(), "off"), "description", rule.into());
    keys([
        (
            "provider",
            or(
                "Who keeps the balances: nobody, this node by what plans include, or Autumn.",
                named_values(&Choice::ALL),
                Choice::None.name(),
            ),
        ),
        ("feature", or("The provider's name for an execution.", name(), &*default.feature)),
        (
            "environment",
            or("A name for this installation in the keys of what is reported.", name(), &*default.environment),
        ),
        ("allow_ttl", or("How long an answer that allows is remembered.", ttl(), length(default.allow_ttl))),
        ("deny_ttl", or("How long an answer that denies is remembered.", ttl(), length(default.deny_ttl))),
        (
            "deny_revalidate",
            or(
                "A denial that is being asked for is checked again this often.",
                duration(REVALIDATE_MIN_MS, MINUTE_MS),
                length(default.deny_revalidate),
            ),
        ),
        ("exempt_ttl", or("How long it is remembered that an org pays.", ttl(), length(default.exempt_ttl))),
        ("deny_stale", or("How long a denial stands beyond deny_ttl while the provider cannot answer.", stale, "off")),
        (
            "timeout",
            or(
                "The time for one question, shorter than bounds.decision_budget_ms.",
                duration(TIMEOUT_MIN_MS, TIMEOUT_MAX_MS),
                length(default.timeout),
            ),
        ),
    ])
}

fn reported(default: &BillingRules) -> Keys {
    let behaviors = [OverageBehavior::Overflow, OverageBehavior::Cap].map(OverageBehavior::name);
    let meters = json!({"pattern": super::orgs::METER, "not": {"const": "executions"}});
    keys([
        (
            "export",
            or("When usage is reported to the provider.", choice(["completed", "admitted", "off"]), "completed"),
        ),
        (
            "overage_behavior",
            or(
                "Usage beyond the balance: all of it is recorded, or what fits.",
                choice(behaviors),
                default.overage_behavior.name(),
            ),
        ),
        ("features", named("Further meters that are reported, each with the provider's name for it.", meters, name())),
    ])
}

fn without_an_answer(default: &BillingRules) -> Keys {
    let url = json!({"type": "string", "pattern": r"^(https?://[!-~]+)?$", "maxLength": URL_BYTES_MAX});
    let free: Vec<_> = default.free_plans.iter().map(String::as_str).collect();
    keys([
        ("on_no_entitlement", or("Where the feature is not in the plan of the org.", on_indeterminate(), "allow")),
        ("on_unknown_customer", or("Where the provider does not know the org.", on_indeterminate(), "allow")),
        ("on_indeterminate", or("Where there is no answer for another reason.", on_indeterminate(), "allow")),
        ("upgrade_url", or("Where an org can get more; named in denials.", url, "")),
        (
            "rate_exempt",
            or(
                "Whether the rate backstop spares orgs that pay. Only with \"autumn\".",
                choice(["off", "paying"]),
                "off",
            ),
        ),
        ("free_plans", or("Plans at the provider whose customers do not pay.", list(name(), 0, FREE_PLANS_MAX), free)),
    ])
}

fn of_autumn() -> Value {
    let pause = duration(autumn::BREAKER_PAUSE_MIN_MS, autumn::BREAKER_PAUSE_MAX_MS);
    table(
        "How Autumn is reached.",
        keys([
            ("base_url", or("Only https, except on this machine.", safe_url(), autumn::BASE_URL)),
            ("secret_key_file", key("The file of the secret key, am_sk_…; mode 0600.", file())),
            ("webhook_secret_file", key("The file of the secret of the webhook, whsec_…; mode 0600.", file())),
            (
                "api_version",
                or(
                    "The version of its interface, 2.1.0 or later.",
                    pattern(r"^[0-9]+\.[0-9]+\.[0-9]+$"),
                    autumn::API_VERSION,
                ),
            ),
            (
                "breaker_failures",
                or(
                    "Where questions about so many orgs fail and none is answered, it is left alone.",
                    whole(1, autumn::BREAKER_FAILURES_MAX.into()),
                    autumn::BREAKER_FAILURES,
                ),
            ),
            ("breaker_pause", or("How long it is left alone then.", pause, length(autumn::BREAKER_PAUSE))),
        ]),
    )
}
