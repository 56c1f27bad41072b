//! The template and the code name the same things. What the template says by itself is checked
//! by `tests/template/run.sh`.

use std::cell::RefCell;
use std::collections::BTreeSet;

use tidemark_local::tables::TEMPLATE;
use tidemark_runtime::Config;
use tidemark_tests::root;

/// The variables that the function reads.
fn read_by_the_function() -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    let required = ["STATE_TABLE", "VIEWS_TABLE", "BUCKET"];
    Config::read(|name| {
        names.borrow_mut().insert(name.to_owned());
        required.contains(&name).then(|| "x".to_owned())
    })
    .unwrap();
    names.into_inner()
}

#[test]
fn the_template_sets_exactly_what_the_function_reads() {
    let (_, variables) = TEMPLATE.split_once("Environment:\n        Variables:\n").unwrap();
    let names = variables.lines().map_while(|line| line.strip_prefix("          ")?.split_once(':'));
    let set: BTreeSet<String> = names.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(set, read_by_the_function());
}

#[test]
fn the_readme_documents_every_variable() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for name in read_by_the_function() {
        assert!(readme.contains(&format!("| `{name}` |")), "README's table misses {name}");
    }
}
