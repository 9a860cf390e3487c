//! The API as an OpenAPI 3.1 document, made of the descriptors: every rpc as it is called over Connect in JSON, with the comments of
//! the protos. Streams of requests are not in it, because they need gRPC.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    prost_types::method_options::IdempotencyLevel,
};
use serde_json::{Map, Value, json};

use super::json::{HINT, JsonError, PATCHES_PERIODS, PERIODS, descriptors};

/// Statuses of `?status=real`, beside 200.
const REAL: [&str; 4] = ["402", "403", "429", "503"];

static DOCUMENT: LazyLock<Result<Vec<u8>, JsonError>> = LazyLock::new(|| Ok(serde_json::to_vec(&build()?)?));

/// The document, as JSON.
///
/// # Errors
/// Where the embedded descriptors are none.
pub fn document() -> Result<&'static [u8], JsonError> {
    DOCUMENT.as_ref().map(Vec::as_slice).map_err(Clone::clone)
}

/// Whether a GET may call it, as the proto says.
fn only_reads(method: &MethodDescriptor) -> bool {
    let options = method.method_descriptor_proto().options.as_ref();
    options.is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects)
}

fn build() -> Result<Value, JsonError> {
    let methods = || {
        descriptors()
            .into_iter()
            .flat_map(|pool| pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()))
    };
    let mut schemas = Schemas { asked: asked(methods().map(|method| method.input())), ..Schemas::default() };
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for service in descriptors()?.services() {
        tags.push(
            json!({ "name": service.full_name(), "description": comment(&service.parent_file(), service.path()) }),
        );
        for method in service.methods().filter(|method| !method.is_client_streaming()) {
            let path = format!("/{}/{}", service.full_name(), method.name());
            paths.insert(path, path_item(&method, &mut schemas));
        }
    }
    let mut components = schemas.all();
    components.insert("connect.error".to_owned(), error_schema());
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tollgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "May this org execute now, and what is left? Every rpc over Connect, in canonical proto3 JSON: 64-bit \
                            integers are strings, and may be numbers in a request; a field that is not written has its default. A \
                            denial is an answer with \"allowed\": false, not an error.",
        },
        "tags": tags,
        "paths": paths,
        "security": [{}, { "bearer": [] }],
        "components": {
            "schemas": components,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "error": {
                    "description": "Why the call was not carried out; the status of HTTP follows from the code.",
                    "content": {
                        "application/json": { "schema": { "$ref": "#/components/schemas/connect.error" } },
                        // Of what is no call of an rpc: another path, method or type, or a page that may not call.
                        "text/plain": { "schema": { "type": "string" } },
                    },
                },
            },
            "parameters": {
                "status": {
                    "name": "status",
                    "in": "query",
                    "description": "`real`: a denial is answered with the status that it hints at, and not with 200.",
                    "schema": { "const": "real" },
                },
                "timeout": {
                    "name": "Connect-Timeout-Ms",
                    "in": "header",
                    "description": "How long the caller waits, in milliseconds.",
                    "schema": { "type": "integer", "minimum": 0 },
                },
            },
        },
    }))
}

fn path_item(method: &MethodDescriptor, schemas: &mut Schemas) -> Value {
    let post = operation(method, "", schemas);
    if !only_reads(method) || method.is_server_streaming() {
        return json!({ "post": post });
    }
    let mut get = operation(method, ".get", schemas);
    get.remove("requestBody");
    get.insert(
        "parameters".to_owned(),
        json!([
            { "$ref": "#/components/parameters/timeout" },
            { "name": "encoding", "in": "query", "required": true, "schema": { "const": "json" } },
            {
                "name": "message",
                "in": "query",
                "required": true,
                "description": "The request, as JSON.",
                "content": { "application/json": { "schema": schemas.message(&method.input()) } },
            },
        ]),
    );
    json!({ "post": post, "get": get })
}

fn operation(method: &MethodDescriptor, ends: &str, schemas: &mut Schemas) -> Map<String, Value> {
    let service = method.parent_service();
    let (kind, asked, answered) = if method.is_server_streaming() {
        // Frames: a byte of flags, four bytes of length, JSON.
        let framed =
            |of: &MessageDescriptor| json!({ "type": "string", "format": "binary", "description": of.full_name() });
        ("application/connect+json", framed(&method.input()), framed(&method.output()))
    } else {
        ("application/json", schemas.message(&method.input()), schemas.message(&method.output()))
    };
    let mut parameters = vec![json!({ "$ref": "#/components/parameters/timeout" })];
    let answer = |why: &str| json!({ "description": why, "content": { kind: { "schema": answered } } });
    let mut responses = Map::from_iter([
        ("200".to_owned(), answer(method.output().full_name())),
        ("default".to_owned(), json!({ "$ref": "#/components/responses/error" })),
    ]);
    if ends.is_empty() && method.output().get_field_by_name(HINT).is_some() {
        parameters.push(json!({ "$ref": "#/components/parameters/status" }));
        let denial = || answer("With `status=real`: a denial. Its body may be an error as well.");
        responses.extend(REAL.map(|status| (status.to_owned(), denial())));
    }
    let operation = json!({
        "operationId": format!("{}.{}{ends}", service.full_name(), method.name()),
        "tags": [service.full_name()],
        "description": comment(&service.parent_file(), method.path()),
        "parameters": parameters,
        "requestBody": { "required": true, "content": { kind: { "schema": asked } } },
        "responses": responses,
    });
    match operation {
        Value::Object(operation) => operation,
        _ => Map::new(),
    }
}

/// Every message and enum that is asked for, and what they are made of.
#[derive(Debug, Default)]
struct Schemas {
    done: BTreeMap<String, Value>,
    begun: BTreeSet<String>,
    /// Messages of requests, in which a field that has its default may be left out.
    asked: BTreeSet<String>,
}

/// The messages, and what they are made of.
fn asked(messages: impl Iterator<Item = MessageDescriptor>) -> BTreeSet<String> {
    let (mut found, mut left) = (BTreeSet::new(), messages.collect::<Vec<_>>());
    while let Some(message) = left.pop() {
        if found.insert(message.full_name().to_owned()) {
            left.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
        }
    }
    found
}

/// What JSON writes in a way of its own.
fn well_known(name: &str) -> Option<Value> {
    match name.strip_prefix("google.protobuf.")? {
        "Duration" => Some(json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" })),
        "Struct" => Some(json!({ "type": "object" })),
        "Value" => Some(json!({})),
        "UInt64Value" => Some(whole_number(false)),
        _ => None,
    }
}

/// 64 bits are text, and may be a number in a request.
fn whole_number(is_signed: bool) -> Value {
    match is_signed {
        true => json!({ "type": ["string", "integer"], "format": "int64", "pattern": "^-?[0-9]+$" }),
        false => json!({ "type": ["string", "integer"], "format": "int64", "pattern": "^[0-9]+$", "minimum": 0 }),
    }
}

impl Schemas {
    fn all(self) -> BTreeMap<String, Value> {
        self.done
    }

    /// Where the message is described.
    fn message(&mut self, of: &MessageDescriptor) -> Value {
        if let Some(known) = well_known(of.full_name()) {
            return known;
        }
        if self.begun.insert(of.full_name().to_owned()) {
            let properties: Map<_, _> =
                of.fields().map(|field| (field.json_name().to_owned(), self.field(&field))).collect();
            let mut schema = json!({
                "type": "object",
                "description": comment(&of.parent_file(), of.path()),
                "properties": properties,
            });
            let always = of.fields().filter(|field| !field.supports_presence());
            let always: Vec<_> = always.map(|field| field.json_name().to_owned()).collect();
            if let (Some(schema), false) =
                (schema.as_object_mut(), always.is_empty() || self.asked.contains(of.full_name()))
            {
                schema.insert("required".to_owned(), always.into());
            }
            self.done.insert(of.full_name().to_owned(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{}", of.full_name()) })
    }

    fn names(&mut self, of: &EnumDescriptor) -> Value {
        if self.begun.insert(of.full_name().to_owned()) {
            let names: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
            let said = |value: prost_reflect::EnumValueDescriptor| {
                let said = comment(&of.parent_file(), value.path());
                (!said.is_empty()).then(|| format!("\n\n`{}`: {said}", value.name()))
            };
            let values: String = of.values().filter_map(said).collect();
            let description = comment(&of.parent_file(), of.path()) + &values;
            let schema = json!({ "type": "string", "enum": names, "description": description.trim() });
            self.done.insert(of.full_name().to_owned(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{}", of.full_name()) })
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = match field.kind() {
            Kind::Message(map) if field.is_map() => {
                let value = self.kind(&map.map_entry_value_field().kind());
                let may_be_null = field.parent_message().name() == PATCHES_PERIODS && field.name() == PERIODS;
                let value = if may_be_null { json!({ "anyOf": [value, { "type": "null" }] }) } else { value };
                json!({ "type": "object", "additionalProperties": value })
            }
            kind if field.cardinality() == Cardinality::Repeated => {
                json!({ "type": "array", "items": self.kind(&kind) })
            }
            kind => self.kind(&kind),
        };
        let said = comment(&field.parent_message().parent_file(), field.path());
        if let (Some(schema), false) = (schema.as_object_mut(), said.is_empty()) {
            schema.insert("description".to_owned(), said.into());
        }
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole_number(true),
            Kind::Uint64 | Kind::Fixed64 => whole_number(false),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Message(message) => self.message(message),
            Kind::Enum(names) => self.names(names),
        }
    }
}

/// As the Connect protocol writes it.
fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["code"],
        "properties": {
            "code": { "type": "string", "description": "The code of gRPC in lower case: invalid_argument, unavailable, …" },
            "message": { "type": "string" },
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": { "type": "string", "description": "google.rpc.ErrorInfo, google.rpc.RetryInfo, google.rpc.BadRequest" },
                        "value": { "type": "string", "contentEncoding": "base64" },
                        "debug": { "type": "object", "description": "The same as JSON." },
                    },
                },
            },
        },
    })
}

/// What a proto says above the thing at `path`.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let lines = location.map(|location| location.leading_comments()).unwrap_or_default().lines();
    lines.map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed() -> Value {
        serde_json::from_slice(document().unwrap()).unwrap()
    }

    /// Every reference in it.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_rpc_that_connect_carries_is_in_it_with_its_comment() {
        let document = parsed();
        let paths = document["paths"].as_object().unwrap();
        let methods = descriptors().unwrap().services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let carried: Vec<_> = methods.filter(|method| !method.is_client_streaming()).collect();
        assert_eq!(paths.len(), carried.len());
        for method in carried {
            let path = &paths[&format!("/{}/{}", method.parent_service().full_name(), method.name())];
            assert_ne!(path["post"]["description"], "", "{}", method.full_name());
            assert_eq!(path.get("get").is_some(), only_reads(&method) && !method.is_server_streaming());
        }
        assert!(paths["/tollgate.v1.GateService/GetStatus"].get("get").is_some());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let (document, mut found) = (parsed(), Vec::new());
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn fields_have_their_names_and_types_in_json() {
        let document = parsed();
        let fields = &document["components"]["schemas"]["tollgate.v1.AcquireRequest"]["properties"];
        assert_eq!(fields["org"]["type"], "string");
        assert_eq!(fields["requestId"]["type"], "string");
        assert_ne!(fields["requestId"]["description"], Value::Null);
    }
}
