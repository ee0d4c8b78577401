//! All routes, each with its part of the OpenAPI document.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{agent, content, deadline, document, event, health, host, operation, rate};
use crate::core::Core;
use crate::metric;
use crate::refusal::Refusal;

/// Bodies in JSON, in bytes at most.
pub const BODY_LIMIT: usize = 1 << 20;

/// The endpoints of one kind.
macro_rules! kind_endpoints {
    ($module:ident, $kind:ty, $create:ty, $query:ty, $collection:tt, $item:tt, $tag:tt, $noun:tt) => {
        /// The endpoints of the kind.
        mod $module {
            use std::sync::Arc;

            use api::{Accepted, Page};
            use axum::Json;
            use axum::extract::{Path, State};
            use axum::http::HeaderMap;
            use axum::response::Response;

            use crate::core::Core;
            use crate::http::access::SignedIn;
            use crate::http::extract::{Body, Query};
            use crate::http::filter;
            use crate::http::idempotency::Key;
            use crate::http::resource;
            use crate::refusal::Refusal;

            /// A page of the list, in the order of ids.
            #[utoipa::path(get, path = $collection, operation_id = concat!("list_", $tag), tag = $tag, params($query), responses(
                (status = 200, body = Page<$kind>)
            ))]
            pub async fn list(
                State(core): State<Arc<Core>>,
                who: SignedIn,
                Query(query): Query<$query>,
            ) -> Result<Json<Page<$kind>>, Refusal> {
                Ok(Json(resource::list(&core, &who, query).await?))
            }

            /// Asks for a new one.
            #[utoipa::path(post, path = $collection, operation_id = concat!("create_", $noun), tag = $tag,
                params(("idempotency-key" = Option<String>, Header, description = "A key of this request: sent again within a day, it gets the same answer.")),
                request_body = $create, responses(
                (status = 202, body = Accepted<$kind>)
            ))]
            pub async fn create(
                State(core): State<Arc<Core>>,
                who: SignedIn,
                key: Key,
                Body(body): Body,
            ) -> Result<Response, Refusal> {
                resource::create::<$kind>(&core, &who, key, &body).await
            }

            /// One, by id or name. The ETag is its generation.
            #[utoipa::path(get, path = $item, operation_id = concat!("get_", $noun), tag = $tag, params(($noun = String, Path, description = "Id or name.")), responses(
                (status = 200, body = $kind)
            ))]
            pub async fn get(
                State(core): State<Arc<Core>>,
                who: SignedIn,
                Path(which): Path<String>,
            ) -> Result<Response, Refusal> {
                resource::get::<$kind>(&core, &who, &which).await
            }

            /// Changes its tags and spec by a merge patch (RFC 7396).
            #[utoipa::path(patch, path = $item, operation_id = concat!("update_", $noun), tag = $tag,
                params(($noun = String, Path, description = "Id or name."),
                    ("if-match" = Option<String>, Header, description = "The ETag that it must have."),
                    ("idempotency-key" = Option<String>, Header, description = "A key of this request: sent again within a day, it gets the same answer.")),
                request_body(content = Object, content_type = "application/merge-patch+json"),
                responses(
                    (status = 202, body = Accepted<$kind>)
            ))]
            pub async fn update(
                State(core): State<Arc<Core>>,
                who: SignedIn,
                key: Key,
                Path(which): Path<String>,
                headers: HeaderMap,
                Body(body): Body,
            ) -> Result<Response, Refusal> {
                resource::update::<$kind>(&core, &who, key, &which, &headers, &body).await
            }

            /// Asks for its end.
            #[utoipa::path(delete, path = $item, operation_id = concat!("delete_", $noun), tag = $tag,
                params(($noun = String, Path, description = "Id or name."),
                    ("if-match" = Option<String>, Header, description = "The ETag that it must have."),
                    ("idempotency-key" = Option<String>, Header, description = "A key of this request: sent again within a day, it gets the same answer.")),
                responses(
                    (status = 202, body = Accepted<$kind>)
            ))]
            pub async fn delete(
                State(core): State<Arc<Core>>,
                who: SignedIn,
                key: Key,
                Path(which): Path<String>,
                headers: HeaderMap,
            ) -> Result<Response, Refusal> {
                resource::delete::<$kind>(&core, &who, key, &which, &headers).await
            }
        }
    };
}

kind_endpoints!(
    network,
    api::Network,
    api::NetworkCreate,
    filter::PlainQuery,
    "/v1/networks",
    "/v1/networks/{network}",
    "networks",
    "network"
);
kind_endpoints!(
    instance,
    api::Instance,
    api::InstanceCreate,
    filter::InstanceQuery,
    "/v1/instances",
    "/v1/instances/{instance}",
    "instances",
    "instance"
);
kind_endpoints!(
    image,
    api::Image,
    api::ImageCreate,
    filter::PlainQuery,
    "/v1/images",
    "/v1/images/{image}",
    "images",
    "image"
);
kind_endpoints!(peer, api::Peer, api::PeerCreate, filter::PeerQuery, "/v1/peers", "/v1/peers/{peer}", "peers", "peer");

/// The API's own endpoints with their description.
pub fn described() -> OpenApiRouter<Arc<Core>> {
    OpenApiRouter::with_openapi(document::Head::openapi())
        .routes(routes!(network::list, network::create))
        .routes(routes!(network::get, network::update, network::delete))
        .routes(routes!(instance::list, instance::create))
        .routes(routes!(instance::get, instance::update, instance::delete))
        .routes(routes!(super::restart::restart))
        .routes(routes!(image::list, image::create))
        .routes(routes!(image::get, image::update, image::delete))
        .routes(routes!(peer::list, peer::create))
        .routes(routes!(peer::get, peer::update, peer::delete))
        .routes(routes!(operation::list))
        .routes(routes!(operation::get))
        .routes(routes!(event::follow))
        .routes(routes!(agent::list))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(deadline::enforce))
        // A file may take its time, as long as it keeps coming.
        .merge(OpenApiRouter::new().routes(routes!(content::put)).layer(axum::extract::DefaultBodyLimit::disable()))
}

/// Everything that is served.
pub fn router(core: Arc<Core>, names: host::Names) -> Router {
    let (api, openapi) = described().split_for_parts();
    let openapi = document::with_refusals(openapi);
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .merge(document::router(openapi))
        .fallback(|| async { Refusal::NotFound("such path: GET /docs lists them".to_owned()) })
        .layer(middleware::from_fn_with_state(Arc::clone(&core), rate::count_address));
    api.merge(open)
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed })
        .layer(middleware::from_fn_with_state(Arc::new(names), host::check))
        .layer(middleware::from_fn(measure))
        .with_state(core)
}

/// Counts a request, by its route and not by its path.
async fn measure(request: Request, next: Next) -> Response {
    let began = std::time::Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metric::request(route, known(&method), response.status().as_u16(), began.elapsed());
    response
}

/// The method, as far as the interface has it: what callers make up is no label.
fn known(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
