//! The OpenAPI document, and pages for people that load nothing from elsewhere.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::core::Core;

/// What the document says of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rhyzome",
        description = "Networks, instances, images and peers of a collective's own cloud. A change is accepted at once \
                       with the operation that brings it about; events tell what becomes of it. Errors are problems \
                       (RFC 9457) that name every fault.",
        license(name = "AGPL-3.0-or-later", identifier = "AGPL-3.0-or-later")
    ),
    components(schemas(api::Problem)),
    modifiers(&Bearer)
)]
pub struct Head;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
        openapi.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    }
}

/// The OpenAPI document, pretty-printed.
pub fn openapi() -> anyhow::Result<String> {
    let (_, openapi) = super::route::described().split_for_parts();
    Ok(with_refusals(openapi).to_pretty_json()? + "\n")
}

/// Adds the answers that every operation may give: problems.
pub fn with_refusals(mut openapi: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let problem = |description: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        ResponseBuilder::new().description(description).content("application/problem+json", content).build()
    };
    for item in openapi.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses.insert("4XX".to_owned(), problem("It is refused, and the problem says why.").into());
            responses.insert("5XX".to_owned(), problem("It cannot be done, for now or at all.").into());
        }
    }
    openapi
}

/// The document and its pages.
pub fn router(openapi: utoipa::openapi::OpenApi) -> Router<Arc<Core>> {
    let json = openapi.to_pretty_json().unwrap_or_default() + "\n";
    let page = page(&serde_json::to_value(&openapi).unwrap_or_default());
    Router::new()
        .route("/openapi.json", get(move || async move { ([(header::CONTENT_TYPE, "application/json")], json) }))
        .route("/docs", get(move || async move { Html(page) }))
}

/// The whole interface on one page.
fn page(openapi: &serde_json::Value) -> String {
    let mut out = String::from(include_str!("document/head.html"));
    let text = |value: &serde_json::Value| escape(value.as_str().unwrap_or_default());
    let _ = write!(out, "<h1>{}</h1><p>{}</p>", text(&openapi["info"]["title"]), text(&openapi["info"]["description"]));
    out.push_str("<h2>Endpoints</h2>");
    for (path, item) in openapi["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            endpoint(&mut out, path, method, operation);
        }
    }
    out.push_str("<h2>Types</h2>");
    for (name, schema) in openapi["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(out, "<section id=\"{0}\"><h3>{0}</h3><p>{1}</p>", escape(name), text(&schema["description"]));
        fields(&mut out, schema);
        out.push_str("</section>");
    }
    out.push_str("</main></body></html>\n");
    out
}

fn endpoint(out: &mut String, path: &str, method: &str, operation: &serde_json::Value) {
    let summary = operation["summary"].as_str().or(operation["description"].as_str()).unwrap_or_default();
    let _ = write!(
        out,
        "<section><h3><b class=\"{method}\">{}</b> <code>{}</code></h3><p>{}</p>",
        method.to_uppercase(),
        escape(path),
        escape(summary)
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        out.push_str("<table>");
        for parameter in parameters {
            let cell = |name: &str| escape(parameter[name].as_str().unwrap_or_default());
            let _ = write!(
                out,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                cell("name"),
                cell("in"),
                cell("description")
            );
        }
        out.push_str("</table>");
    }
    if let Some(body) = operation["requestBody"]["content"].as_object() {
        for (media, content) in body {
            let _ = write!(out, "<p>Body: {} ({})</p>", kind(&content["schema"]), escape(media));
        }
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        for (_, content) in response["content"].as_object().into_iter().flatten() {
            let _ = write!(out, "<p>{}: {}</p>", escape(status), kind(&content["schema"]));
        }
    }
    out.push_str("</section>");
}

fn fields(out: &mut String, schema: &serde_json::Value) {
    let Some(properties) = schema["properties"].as_object() else {
        let _ = write!(out, "<p>{}</p>", kind(schema));
        return;
    };
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    out.push_str("<table>");
    for (name, property) in properties {
        let mark = if required.iter().any(|other| other == name) { "required" } else { "" };
        // An optional field's description stands with the first of its alternatives.
        let description = property["description"].as_str().or(property["oneOf"][0]["description"].as_str());
        let description = escape(description.unwrap_or_default());
        let _ = write!(
            out,
            "<tr><td><code>{}</code></td><td>{}</td><td>{mark}</td><td>{description}</td></tr>",
            escape(name),
            kind(property)
        );
    }
    out.push_str("</table>");
}

/// A schema in a few words, with links to the types that have a name.
fn kind(schema: &serde_json::Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    for union in ["oneOf", "anyOf", "allOf"] {
        if let Some(options) = schema[union].as_array() {
            return options.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("<code>{}</code>", escape(&value.to_string())))
            .collect::<Vec<_>>()
            .join(" ");
    }
    match &schema["type"] {
        serde_json::Value::String(name) if name == "array" => format!("list of {}", kind(&schema["items"])),
        serde_json::Value::String(name) => escape(name),
        serde_json::Value::Array(names) => {
            names.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
