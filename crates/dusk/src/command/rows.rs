//! What is listed: as a table, or as JSON.

use std::process::ExitCode;

use anyhow::bail;

use super::{Given, print};

/// Prints rows in the form that `--output` asks for.
///
/// # Errors
/// When it asks for another one.
pub fn rows<const N: usize>(given: &Given, heads: [&str; N], rows: &[[String; N]]) -> anyhow::Result<ExitCode> {
    match given.value("output").unwrap_or("table") {
        "table" => print(&table(heads, rows)),
        "json" => {
            let object = |row: &[String; N]| {
                heads.iter().zip(row).map(|(head, cell)| ((*head).to_owned(), cell.as_str().into())).collect()
            };
            let list: Vec<serde_json::Value> = rows.iter().map(object).map(serde_json::Value::Object).collect();
            print(&format!("{}\n", serde_json::Value::from(list)))
        }
        other => bail!("--output {other}: expected table or json"),
    }
}

/// Rows under heads, in columns.
pub fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).chain([heads[at].len()]).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let heads = heads.map(str::to_uppercase);
    let mut out = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}
