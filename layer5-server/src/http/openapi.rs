//! The API described by itself: OpenAPI 3.1 made of the route table, and a page of it that needs no network.
//! Invariants: every route of the table is in the document, because it is made of the table.

use axum::{
    Json,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{ROUTES, Route, log_level::LogLevel, wire};
use crate::study_desk;

/// `GET /openapi.json`.
pub(crate) async fn document() -> Json<Value> {
    Json(openapi())
}

/// `GET /docs`.
pub(crate) async fn page() -> Response {
    (
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        include_str!("openapi.html"),
    )
        .into_response()
}

fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Layer5, the refinement layer",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "KPIs in, patterns found, recommendations out. Errors are RFC 9457 problems.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "bearer": [] }, {}],
    })
}

fn operation(route: &Route) -> Value {
    let schema = |name: &str| match name {
        "" => json!({ "type": "object" }),
        name => json!({ "$ref": format!("#/components/schemas/{name}") }),
    };
    let mut operation = json!({
        "summary": route.summary,
        "operationId": format!("{} {}", route.method, route.path),
        "description": format!("Needs the role {:?} where tokens are set up.", route.role),
        "responses": {
            "200": {
                "description": "done",
                "content": { "application/json": { "schema": schema(route.answer) } },
            },
            "default": {
                "description": "a problem",
                "content": { "application/problem+json": { "schema": schema("Problem") } },
            },
        },
    });
    let variables = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{'));
    let parameters: Vec<Value> = variables
        .filter_map(|part| part.strip_suffix('}'))
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if ["post", "put"].contains(&route.method) {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema(route.request) } },
        });
    }
    operation
}

fn schemas() -> Value {
    let mut all = Map::new();
    let of = |schema: RefOr<Schema>| serde_json::to_value(schema).expect("a schema is JSON");
    for (name, schema) in [
        ("ReportsAnswer", wire::ReportsAnswer::schema()),
        ("RejectedReport", wire::RejectedReport::schema()),
        ("OptimizeRequest", wire::OptimizeRequest::schema()),
        ("OptimizeAnswer", wire::OptimizeAnswer::schema()),
        ("SpaceUsed", wire::SpaceUsed::schema()),
        ("AnalyzeRequest", wire::AnalyzeRequest::schema()),
        ("SeriesPoint", wire::SeriesPoint::schema()),
        ("AnalyzeAnswer", wire::AnalyzeAnswer::schema()),
        ("AnalyzeSummary", wire::AnalyzeSummary::schema()),
        ("NextFeedback", wire::NextFeedback::schema()),
        ("ValidationResults", wire::ValidationResults::schema()),
        ("FeedbackRequest", wire::FeedbackRequest::schema()),
        ("EvolutionRequest", wire::EvolutionRequest::schema()),
        ("Genome", wire::Genome::schema()),
        ("IncidentsAnswer", wire::IncidentsAnswer::schema()),
        ("IncidentRow", wire::IncidentRow::schema()),
        ("FirstMoverRow", wire::FirstMoverRow::schema()),
        ("MoversRow", wire::MoversRow::schema()),
        ("ResourcesRequest", wire::ResourcesRequest::schema()),
        ("StudyInit", study_desk::Init::schema()),
        ("StudyAsk", study_desk::Ask::schema()),
        ("StudyTell", study_desk::Tell::schema()),
        ("StudyIntermediate", study_desk::Intermediate::schema()),
        ("StudyObserve", study_desk::Observe::schema()),
        ("StudyLearn", study_desk::Learn::schema()),
        ("LogLevel", LogLevel::schema()),
    ] {
        all.insert(name.into(), of(schema));
    }
    // What a study's commands are made of.
    let mut parts = Vec::new();
    study_desk::Init::schemas(&mut parts);
    study_desk::Tell::schemas(&mut parts);
    all.extend(parts.into_iter().map(|(name, schema)| (name, of(schema))));
    all.insert(
        "Problem".into(),
        json!({
            "type": "object",
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
            },
        }),
    );
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = openapi();
        let text = document.to_string();
        for (at, _) in text.match_indices("#/components/schemas/") {
            let name = text[at + 21..].split('"').next().expect("a string ends");
            assert!(
                document["components"]["schemas"].get(name).is_some(),
                "{name}"
            );
        }
        assert_eq!(document["openapi"], "3.1.0");
    }
}
