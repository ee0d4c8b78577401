//! The OpenAPI document and its pages.

use crate::installation::project_file;

#[test]
fn the_committed_document_is_the_served_one() {
    let committed = std::fs::read_to_string(project_file("docs/openapi.json")).unwrap_or_default();
    let served = rhyzome::openapi().unwrap();
    assert!(committed == served, "docs/openapi.json differs: rhyzome openapi >docs/openapi.json");
}
