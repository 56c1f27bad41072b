//! The template and the code name the same things. What the template says by itself is checked
//! by `tests/template/run.sh`.

use std::cell::RefCell;
use std::collections::BTreeSet;

use tidemark_local::tables::TEMPLATE;
use tidemark_runtime::Config;
use tidemark_tests::root;

/// The variables that the functions read.
fn read_by_the_functions() -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    let required = ["STATE_TABLE", "VIEWS_TABLE", "BUCKET"];
    Config::read(|name| {
        names.borrow_mut().insert(name.to_owned());
        required.contains(&name).then(|| "x".to_owned())
    })
    .unwrap();
    names.into_inner()
}

fn set_for(function: &str) -> BTreeSet<String> {
    let (_, function) = TEMPLATE.split_once(&format!("\n  {function}:\n")).unwrap();
    let (_, variables) = function.split_once("Environment:\n        Variables:\n").unwrap();
    let names = variables.lines().map_while(|line| line.strip_prefix("          ")?.split_once(':'));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Both read one configuration; what only the other uses, each leaves at its default.
#[test]
fn the_template_sets_exactly_what_the_functions_read() {
    let (aggregate, archive) = (set_for("AggregateFunction"), set_for("ArchiveFunction"));
    assert_eq!(&aggregate | &archive, read_by_the_functions());
    for name in &archive - &aggregate {
        let is_its_own = name.starts_with("ARCHIVE_") || name == "HISTORY_RETENTION_DAYS";
        assert!(is_its_own, "{name} is set for the archive alone");
    }
}

#[test]
fn the_readme_documents_every_variable() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for name in read_by_the_functions() {
        assert!(readme.contains(&format!("| `{name}` |")), "README's table misses {name}");
    }
}
