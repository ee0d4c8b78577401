//! The file of an image, sent to us.

use std::sync::Arc;
use std::time::Duration;

use api::{Image, ImageSpec, ImageStatus};
use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tokio_stream::StreamExt;
use types::{ResourceId, ScopeVerb};

use super::access::SignedIn;
use super::extract::check_media;
use super::{deadline, resource};
use crate::core::Core;
use crate::image_file::{self, Arrival};
use crate::refusal::Refusal;
use crate::render::read;

/// A client that stopped sending.
#[derive(Debug, thiserror::Error)]
#[error("nothing more came for {} s", .0.as_secs())]
struct Stalled(Duration);

/// Takes the file of an image that was asked for without a URL. It is kept only if its SHA-256 is the image's and it is
/// qcow2 without a backing file, external data, encryption or internal snapshots.
#[utoipa::path(put, path = "/v1/images/{image}/content", operation_id = "put_image_content", tag = "images",
    params(("image" = String, Path, description = "The image's id or name.")),
    request_body(content(("application/octet-stream"))),
    responses((status = 200, body = Image),
    (status = "4XX", body = api::Problem, content_type = "application/problem+json")
))]
pub async fn put(
    State(core): State<Arc<Core>>,
    who: SignedIn,
    Path(image): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    who.require(types::ScopeKind::Image, ScopeVerb::Create)?;
    check_media(&headers, "application/octet-stream", |media| media == "octet-stream")?;
    let (id, spec) = {
        let mut session = core.store.read().await?;
        let id = resource::find::<Image, _>(&mut session, &who, &image).await?;
        let row = session.resource(&who.caller, id).await?;
        let status: ImageStatus = read("status.body", row.status)?;
        let spec: ImageSpec = read("resource.spec", row.spec)?;
        if row.state != "creating" || status.virtual_size.is_some() {
            return Err(Refusal::Conflict("the image has its file already".to_owned()));
        }
        (id, spec)
    };
    if spec.url.is_some() {
        return Err(Refusal::Conflict("the image's file is fetched by its URL".to_owned()));
    }
    let ResourceId::Image(image_id) = id else { return Err(Refusal::NotFound(format!("image {image}"))) };
    let length = body.size_hint().exact();
    let arriving = body.into_data_stream().timeout(deadline::CHUNK).map(|chunk| match chunk {
        Ok(chunk) => chunk,
        Err(_) => Err(axum::Error::new(Stalled(deadline::CHUNK))),
    });
    let arrival = image_file::receive(&core, image_id, spec.sha256, length, Box::pin(arriving)).await?;
    if let Arrival::Unwanted(reason) = arrival {
        return Err(Refusal::Conflict(reason.to_owned()));
    }
    resource::get::<Image>(&core, &who, &image_id.to_string()).await
}
