//! The OpenAPI document and its pages.

use crate::installation::project_file;

#[test]
fn the_committed_document_is_the_served_one() {
    let committed = std::fs::read_to_string(project_file("docs/openapi.json")).unwrap_or_default();
    let served = rhyzome::openapi().unwrap();
    assert!(committed == served, "docs/openapi.json differs: rhyzome openapi >docs/openapi.json");
}

#[test]
fn operations_have_names_of_their_own() {
    let document: serde_json::Value = serde_json::from_str(&rhyzome::openapi().unwrap()).unwrap();
    let mut names: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
