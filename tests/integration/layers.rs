//! The layers: every path from one module of the crate to another, against the table. A path counts wherever it stands:
//! in a `use`, in code, in a macro, in a test; `crate::`, `strongroom::` and `super::` alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. A row imports only rows below it; neighbours in a row do not import each other.
const ROWS: &[&[&str]] = &[
    &["main"],
    &["lib"],
    &["dev", "doctor"],
    &["server", "config"],
    &["rpc", "ops_http", "cli"],
    &["vault"],
    &["gate", "hsm"],
    &["access", "identity", "seal", "backup"],
    &["crypto", "storage", "audit", "pki", "traces"],
    &["memory", "metrics"],
    &["client"],
    &["model", "api"],
    &["required"], // of the tests alone
];

/// Neighbours after all: the composition root composes what the configuration says.
const ALSO: &[(&str, &str)] = &[("server", "config")];

/// These import nothing else of ours, however low it lies.
const ONLY: &[(&str, &[&str])] = &[
    ("client", &["model", "api"]), // what a backend takes over must not bring the vault along
    // It stands where any client stands; and the small CA is used on a machine of its own, where there is no server to ask.
    // What a vault has signed is verified where there is none.
    ("cli", &["client", "pki", "backup", "crypto", "model", "api"]),
    ("lib", &[]), // it only says which modules there are
];

/// These import nothing of what lies so low, although the rows would let them.
const NEVER: &[(&str, &str)] = &[
    ("dev", "cli"),        // `dev` tells its story through the client
    ("doctor", "cli"),     // it finds; `main` has it printed
    ("gate", "storage"),   // it decides; only the vault reads rows
    ("access", "storage"), // a decision is a pure function
    ("access", "audit"),
];

/// These may be imported by nobody else: a server that called itself through its own client would be two servers.
/// `identity` is among them for its tests, which connect as a client does.
const ONLY_BY: &[(&str, &[&str])] = &[("client", &["cli", "dev", "doctor", "identity", "main"])];

#[test]
fn no_module_imports_what_lies_above_or_beside_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source);
    assert!(files.len() > 15, "only {} files found", files.len());
    let violations: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a source file is text");
            let place = file.strip_prefix(&source).expect("found below it").to_owned();
            violations(&place, &text)
        })
        .collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// What one file does wrong: `src/file:line: from -> to: why`.
fn violations(place: &Path, text: &str) -> Vec<String> {
    let modules = module_of(place);
    let from = modules.first().map_or_else(|| place.file_stem().expect("a file").to_string_lossy().into_owned(), Clone::clone);
    let imports = if row(&from).is_some() { imports(&modules, &tokens(text)) } else { vec![(1, from.clone())] };
    let wrong = imports.into_iter().filter_map(|(line, to)| Some((line, forbidden(&from, &to)?, to)));
    wrong.map(|(line, why, to)| format!("src/{}:{line}: {from} -> {to}: {why}", place.display())).collect()
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn forbidden(from: &str, to: &str) -> Option<&'static str> {
    let (Some(upper), Some(lower)) = (row(from), row(to)) else { return Some("not in the table of layers") };
    let listed =
        |table: &[(&str, &[&str])], key: &str, other: &str| table.iter().any(|(one, allowed)| *one == key && !allowed.contains(&other));
    if from == to || ALSO.contains(&(from, to)) {
        None
    } else if upper > lower {
        Some("lies above")
    } else if upper == lower {
        Some("is a neighbour")
    } else if listed(ONLY, from, to) {
        Some("not among the few that it may import")
    } else if listed(ONLY_BY, to, from) {
        Some("not for this one to import")
    } else if NEVER.contains(&(from, to)) {
        Some("ruled out by name")
    } else {
        None
    }
}

/// The modules around a file's content, outermost first: `audit/log/mod.rs` -> audit, log. None for `lib.rs`, `main.rs`.
fn module_of(place: &Path) -> Vec<String> {
    let mut modules: Vec<_> = place.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if modules.last().is_some_and(|last| last == "mod") || matches!(modules.as_slice(), [one] if one == "lib" || one == "main") {
        modules.pop();
    }
    modules
}

/// The top modules that the tokens reach through the crate's root, with lines.
fn imports(file_modules: &[String], tokens: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // Depths of braces at which an inline `mod … {` was opened.
    let (mut depth, mut inline) = (0, Vec::new());
    let word = |at: usize| tokens.get(at).map_or("", |(_, text)| text.as_str());
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|opened| *opened == depth);
            }
            "mod" if word(at + 2) == "{" => inline.push(depth),
            "crate" | "strongroom" if word(at + 1) == "::" => found.extend(first_names(tokens, at + 2)),
            // Another name for the root would hide every path that follows.
            "crate" | "strongroom" if word(at + 1) == "as" => found.push((tokens[at].0, "the whole crate".to_owned())),
            "super" if at == 0 || word(at - 1) != "::" => {
                let supers = (0..).take_while(|step| word(at + 2 * step) == "super" && word(at + 2 * step + 1) == "::").count();
                at += (2 * supers).saturating_sub(1);
                if supers >= file_modules.len() + inline.len() && supers > 0 {
                    found.extend(first_names(tokens, at + 1));
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first names of a path or of each branch of a group, from just after `crate::`.
fn first_names(tokens: &[(usize, String)], start: usize) -> Vec<(usize, String)> {
    let named = |(line, text): &(usize, String)| (*line, if text == "*" { "the whole crate".to_owned() } else { text.clone() });
    if tokens.get(start).is_none_or(|(_, text)| text != "{") {
        return tokens.get(start).map(named).into_iter().collect();
    }
    let (mut depth, mut expected, mut found) = (0, false, Vec::new());
    for token in &tokens[start..] {
        match token.1.as_str() {
            "{" => (depth, expected) = (depth + 1, depth == 0),
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," if depth == 1 => expected = true,
            _ if expected => {
                found.push(named(token));
                expected = false;
            }
            _ => {}
        }
    }
    found
}

/// Words and signs of Rust text with their lines; comments, texts and characters left out, `::` as one sign.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest);
        let taken = if length > 0 {
            length
        } else {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let taken = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push((line, rest[..taken].to_owned()));
            taken
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    found
}

/// The length of the blank, comment, text or character that `rest` starts with; 0 if it starts with none.
fn skipped(rest: &str) -> usize {
    let first = rest.chars().next().expect("not at the end");
    let until = |start: usize, end: &str| rest[start..].find(end).map_or(rest.len(), |at| start + at + end.len());
    let raw = rest.trim_start_matches(['b', 'c']).strip_prefix('r').filter(|_| rest.len() > 1);
    let hashes = raw.map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    if first.is_whitespace() {
        first.len_utf8()
    } else if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        until(2, "*/")
    } else if raw.is_some_and(|raw| raw[hashes..].starts_with('"')) {
        let start = rest.find('"').expect("just seen") + 1;
        until(start, &format!("\"{}", "#".repeat(hashes)))
    } else if first == '"' {
        quoted(rest, '"')
    } else if first == '\'' && is_character(rest) {
        quoted(rest, '\'')
    } else {
        0
    }
}

/// Whether the `'` opens a character and not the name of a lifetime.
fn is_character(rest: &str) -> bool {
    let mut after = rest.chars().skip(1);
    let (one, two) = (after.next(), after.next());
    one == Some('\\') || two == Some('\'')
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = true; // the opening quote
    for (at, character) in rest.char_indices() {
        if character == quote && !escaped {
            return at + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    rest.len()
}

fn rust_files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the source").map(|entry| entry.expect("readable").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let own = files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    own.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

#[test]
fn every_spelling_of_a_forbidden_import_is_seen() {
    let seen = |place: &str, text: &str| violations(Path::new(place), text);
    let above = [
        ("storage/sled.rs", "use crate::gate::Gate;"),
        ("storage/sled.rs", "fn f() { let x = crate::gate::run(); }"),
        ("storage/sled.rs", "use crate::{model::{Action, SecretBytes}, gate};"),
        ("storage/sled.rs", "use crate::{\n    gate::{self, Gate},\n};"),
        ("storage/sled.rs", "pub(crate) use crate :: gate;"),
        ("storage/sled.rs", "use super::super::gate;"),
        ("storage/mod.rs", "use super::gate;"),
        ("storage/mod.rs", "mod tests { use super::super::gate; }"),
        ("storage/sled.rs", "mod tests { use crate::gate; }"),
        ("storage/sled.rs", "macro_rules! m { () => { $crate::gate::run() } }"),
        ("storage/sled.rs", "use strongroom::gate;"),
        ("storage/sled.rs", "use ::strongroom::gate;"),
        ("storage/sled.rs", "let a = \"// no comment\"; use crate::gate;"),
        ("storage/sled.rs", "let a = &'\"'; let b: &'static str = r#\" \" \"#; use crate::gate;"),
        ("storage/sled.rs", "use crate::*;"),
        ("storage/sled.rs", "use crate as everything;"),
        ("storage/mod.rs", "use super::*;"),
        ("nowhere/mod.rs", ""),
        ("metrics.rs", "use super::storage;"),
        ("lib.rs", "pub use crate::client::Client;"),
    ];
    for (place, text) in above {
        assert_eq!(seen(place, text).len(), 1, "{place}: {text}: {:?}", seen(place, text));
    }
    for (place, text) in [
        ("storage/sled.rs", "use super::Store; use crate::model::Action; use crate::memory::Arena;"),
        ("storage/mod.rs", "mod tests { use super::*; } mod more { use super::Store; }"),
        ("storage/sled/writer.rs", "use super::super::Store;"),
        (
            "storage/sled.rs",
            "// use crate::gate;\n/* use crate::gate; */ /// crate::gate\nlet a = \"crate::gate\"; let b = r#\"crate::gate\"#;",
        ),
        ("storage/sled.rs", "pub(crate) fn f() {} pub(in crate::storage) fn g() {}"),
        ("main.rs", "use strongroom::{cli, server};"),
        ("server.rs", "use crate::config::Config;"),
    ] {
        assert_eq!(seen(place, text), Vec::<String>::new(), "{place}: {text}");
    }
    let report = seen("audit/log.rs", "//! Head.\n\nuse crate::storage::Store;\n");
    assert_eq!(report, ["src/audit/log.rs:3: audit -> storage: is a neighbour"]);
}

#[test]
fn the_exceptions_are_as_stated() {
    assert_eq!(forbidden("config", "server"), Some("is a neighbour"));
    assert_eq!(forbidden("server", "dev"), Some("lies above"));
    assert_eq!(forbidden("dev", "client"), None);
    assert_eq!(forbidden("dev", "server"), None);
    assert_eq!(forbidden("doctor", "client"), None);
    assert_eq!(forbidden("seal", "crypto"), None);
    assert_eq!(forbidden("config", "identity"), None);
    for (from, to) in [
        ("dev", "cli"),
        ("doctor", "cli"),
        ("doctor", "dev"),
        ("gate", "storage"),
        ("cli", "vault"),
        ("cli", "memory"),
        ("vault", "client"),
        ("client", "memory"),
    ] {
        assert!(forbidden(from, to).is_some(), "{from} -> {to}");
    }
}
