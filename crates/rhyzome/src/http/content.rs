//! The file of an image, sent to us.

use std::sync::Arc;

use api::{Image, ImageSpec, ImageStatus};
use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use types::{ResourceId, ScopeVerb};

use super::access::SignedIn;
use super::extract::check_media;
use super::idempotency::Key;
use super::resource;
use crate::core::Core;
use crate::idempotency;
use crate::image_file::{self, Arrival, Expected};
use crate::refusal::Refusal;
use crate::render::read;

/// Takes the file of an image that was asked for without a URL. It is kept only if its SHA-256 is the image's and it is
/// qcow2 without a backing file, external data, encryption or internal snapshots.
#[utoipa::path(put, path = "/v1/images/{image}/content", operation_id = "put_image_content", tag = "images",
    params(("image" = String, Path, description = "The image's id or name."),
        ("idempotency-key" = Option<String>, Header, description = "A key of this request: sent again within a day, it gets the same answer.")),
    request_body(content(("application/octet-stream"))),
    responses((status = 200, body = Image)
))]
pub async fn put(
    State(core): State<Arc<Core>>,
    who: SignedIn,
    key: Key,
    Path(image): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    who.require(types::ScopeKind::Image, ScopeVerb::Create)?;
    check_media(&headers, "application/octet-stream", |media| media == "octet-stream")?;
    let length = body.size_hint().exact();
    let (id, spec, keyed) = {
        let mut session = core.store.read().await?;
        let id = resource::find::<Image, _>(&mut session, &who, &image).await?;
        let row = session.resource(&who.caller, id).await?;
        let status: ImageStatus = read("status.body", row.status)?;
        let spec: ImageSpec = read("resource.spec", row.spec)?;
        // The file is not read to know what it is: it is what the image asked for, of the length that is announced.
        let brings = format!("{} {length:?}", spec.sha256);
        let keyed = key.bind(brings.as_bytes());
        if let Some(answer) = idempotency::replay(&mut session, &who, keyed.as_ref()).await? {
            return Ok(resource::written(answer));
        }
        if row.state != "creating" || status.virtual_size.is_some() {
            return Err(Refusal::Conflict("the image has its file already".to_owned()));
        }
        (id, spec, keyed)
    };
    if spec.url.is_some() {
        return Err(Refusal::Conflict("the image's file is fetched by its URL".to_owned()));
    }
    let ResourceId::Image(image_id) = id else { return Err(Refusal::NotFound(format!("image {image}"))) };
    let sender = keyed.as_ref().map(|keyed| (&who, keyed));
    let expected = Expected { id: image_id, sha256: spec.sha256, length, sender };
    let arrival = image_file::receive(&core, expected, body.into_data_stream()).await?;
    if let Arrival::Unwanted(reason) = arrival {
        return Err(Refusal::Conflict(reason.to_owned()));
    }
    resource::get::<Image>(&core, &who, &image_id.to_string()).await
}
