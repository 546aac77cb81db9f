//! That every key has its row in host/CONFIGURATION.md, and no row a key that is none.

use std::collections::BTreeSet;

use crate::config::keys::KEYS;

const PAGE: &str = include_str!("../../../CONFIGURATION.md");

/// The passphrase alone is no key of the file: the row of its file names the variable.
const BY_VARIABLE_ONLY: &str = "tls.passphrase";

#[test]
fn every_key_has_a_row_and_every_row_a_key() {
    let documented: BTreeSet<_> = PAGE.lines().filter_map(first_cell).flat_map(keys_in).collect();
    let known: BTreeSet<_> =
        KEYS.iter().filter(|key| **key != BY_VARIABLE_ONLY).map(|key| (*key).to_owned()).collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty(), "no row in host/CONFIGURATION.md: {missing:?}");
    assert!(unknown.is_empty(), "rows of no key in host/CONFIGURATION.md: {unknown:?}");
}

fn first_cell(line: &str) -> Option<&str> {
    let cell = line.strip_prefix("| ")?.split(" |").next()?;
    cell.contains('`').then_some(cell)
}

/// The keys that a cell names: `a.b`, then also `c` for a.c, `[[a.b]]` for a table, and "its" for what a middleware
/// has.
fn keys_in(cell: &str) -> Vec<String> {
    let mut section = cell.starts_with("its ").then_some("middleware");
    let mut keys = Vec::new();
    for name in cell.split('`').skip(1).step_by(2) {
        match name.strip_prefix("[[") {
            // The table is described by the rows of its keys.
            Some("middleware]]") => {}
            Some(table) => keys.push(table.trim_end_matches("]]").to_owned()),
            None => match (name.split_once('.'), section) {
                (Some((own, _)), _) => {
                    section = Some(own);
                    keys.push(name.to_owned());
                }
                (None, Some(section)) => keys.push(format!("{section}.{name}")),
                (None, None) => keys.push(name.to_owned()),
            },
        }
    }
    keys
}
