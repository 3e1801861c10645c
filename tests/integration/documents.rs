//! What the documents say is what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::access::built_in_roles;
use strongroom::api::Method;
use strongroom::model::Action;

use crate::harness::PROGRAM;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines between a line that starts with `open` and the next fence.
fn block<'a>(text: &'a str, open: &str) -> Vec<&'a str> {
    text.lines().skip_while(|line| !line.starts_with(open)).skip(1).take_while(|line| !line.starts_with("```")).collect()
}

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let source = text("src/client/mod.rs");
    let documentation: String = source
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let compiled: Vec<_> =
        block(&documentation, "```no_run").into_iter().filter(|line| !line.starts_with("# ")).map(str::to_owned).collect();
    assert!(compiled.len() >= 10, "the example is there");
    assert_eq!(block(&text("README.md"), "```rust"), compiled);
}

#[test]
fn the_roles_page_has_every_role_with_its_actions() {
    let page = text("docs/roles.md");
    for role in built_in_roles() {
        let row = format!("| `{}` | {} |", role.name, role.actions());
        assert!(page.contains(&row), "docs/roles.md lacks the row {row}");
    }
    for action in Action::ALL {
        assert!(page.contains(&format!("| `{action}` |")), "docs/roles.md lacks {action}");
    }
    for method in Method::ALL {
        let name = format!("`{}`", method.name());
        assert!(page.contains(&name) || matches!(method, Method::DescribeNamespace | Method::ListNamespaces), "docs/roles.md lacks {name}");
    }
}

/// The help stands in the client's half of the program, which knows no policy.
#[test]
fn the_help_has_every_built_in_role_with_its_actions() {
    let output = Command::new(PROGRAM).args(["role", "--help"]).output().expect("it ran");
    let help = String::from_utf8(output.stdout).expect("text");
    for role in built_in_roles() {
        let row = help.lines().find(|line| line.split_whitespace().next() == Some(&role.name.to_string())).unwrap_or_default();
        assert!(row.contains(&format!(" {} ", role.actions())) || row.ends_with(&format!(" {}", role.actions())), "{help}");
    }
}

fn documents() -> Vec<PathBuf> {
    let folders = ["docs", "docs/operations"].map(|folder| fs::read_dir(root().join(folder)).expect("a folder"));
    let pages = folders.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let top = ["README.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name));
    pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).chain(top).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut lost = BTreeSet::new();
    for page in documents() {
        let content = fs::read_to_string(&page).expect("read");
        let folder = page.parent().expect("a folder");
        for target in content.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !folder.join(path).exists() {
                lost.insert(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}
