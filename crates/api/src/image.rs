//! Images: disks that instances are cloned from.

use serde::{Deserialize, Serialize};
use types::{ByteSize, ImageId, ResourceName, Sha256Digest, Tags};
use utoipa::ToSchema;

use crate::resource::resource;

resource! {
    /// A disk image.
    Image, "image", "images", Image, ImageId, ImageSpec, ImageStatus, ImageCreate
}

/// The body of POST /v1/images.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageCreate {
    /// The name.
    pub name: ResourceName,
    /// Tags.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub tags: Tags,
    /// What is asked.
    pub spec: ImageSpec,
}

/// What is asked of an image: qcow2 without a backing file, of this digest. It cannot change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// The SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// Where the server gets the file (https); without it the file is sent by PUT to `/v1/images/{image}/content`.
    #[serde(default)]
    pub url: Option<String>,
}

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ImageStatus {
    /// The length of the file.
    pub file_size: Option<ByteSize>,
    /// The size of the disk in it.
    pub virtual_size: Option<ByteSize>,
    /// Bytes that have arrived so far.
    pub received: u64,
}
