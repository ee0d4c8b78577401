//! Images: what is valid.

use api::{Fault, Image, ImageSpec, ImageStatus};
use types::{ImageId, ResourceId};

use super::{Asked, Ground, Managed, assemble};
use crate::executor::Step;
use crate::image_source;
use crate::refusal::Refusal;

/// The longest URL that is taken.
const URL_LIMIT: usize = 2048;

impl Managed for Image {
    const CREATE: &'static [Step] = &[Step::Content];
    const UPDATE: &'static [Step] = &[];
    const DELETE: &'static [Step] = &[Step::CacheGone];
    #[cfg(test)]
    const EXAMPLE: super::Example =
        super::Example { ground: &[], spec: r#"{"sha256": "SHA256"}"#, change: r#"{"tags": {"colour": "green"}}"# };

    fn make_id(unix_ms: u64) -> Result<ImageId, types::IdError> {
        ImageId::make(unix_ms)
    }

    fn asked(body: api::ImageCreate) -> Asked<Self> {
        Asked { name: body.name, tags: body.tags, spec: body.spec, secret: None }
    }

    async fn check(
        _ground: &mut Ground<'_, '_>,
        asked: &mut Asked<Self>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Refusal> {
        let Some(url) = &asked.spec.url else { return Ok(()) };
        if url.len() > URL_LIMIT {
            faults.push(Fault::new("/spec/url", format!("expected at most {URL_LIMIT} characters")));
        } else if let Err(expected) = image_source::parse(url) {
            faults.push(Fault::new("/spec/url", expected));
        }
        Ok(())
    }

    fn compare(before: &ImageSpec, after: &mut ImageSpec, faults: &mut Vec<Fault>) {
        if before != after {
            faults.push(Fault::new("/spec", "an image's spec cannot change: make another image"));
        }
    }

    async fn allot(
        _ground: &mut Ground<'_, '_>,
        _id: ImageId,
        _asked: &mut Asked<Self>,
    ) -> Result<ImageStatus, Refusal> {
        Ok(ImageStatus::default())
    }

    fn references(_spec: &ImageSpec) -> Vec<ResourceId> {
        Vec::new()
    }

    assemble!();
}
