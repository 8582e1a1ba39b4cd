//! Each layer of src names only itself and what lies below it, and what is dangerous stays in its few places.

use std::fs;
use std::path::{Path, PathBuf};

/// Bottom to top: a module may name those of its own line and of the lines above it here.
const LAYERS: &[&[&str]] = &[
    &["error", "id"],
    &["sys", "telemetry", "config"],
    &["rpc"],
    &["metadata"],
    &["segment"],
    &["transport"],
    &["engine"],
    &["store", "conductor"],
    &["compat"],
    &["ffi"],
];

/// Modules that know nothing of some that they could name by their layer.
const APART: &[(&str, &[&str])] =
    &[("conductor", &["store", "engine", "transport", "segment"]), ("store", &["conductor"])];

/// Folders whose members must not know one another: whoever needs two of them belongs above.
const STRANGERS: &[&str] = &["transport", "metadata"];

/// Members of such folders that implement nothing and serve those that do.
const SHARED: &[&str] = &["registry", "claims", "resp", "runtime"];

/// Parts that decide and move no bytes, and what they therefore must not name.
const DECIDING: &[&str] = &["src/store/allocator/", "src/store/eviction/", "src/store/master/"];
const MOVING: &[&str] = &["engine", "transport"];

/// Words and the only places that may hold them; a folder ends with a slash.
const CONFINED: &[(&str, &[&str])] = &[
    ("unsafe", &["src/ffi/", "src/sys/", "src/segment/memory.rs"]),
    ("extern", &["src/ffi/"]),
    ("no_mangle", &["src/ffi/"]),
    ("std::env", &["src/config/env.rs"]),
    ("ptr::copy", &["src/sys/memory.rs"]),
    ("copy_nonoverlapping", &["src/sys/memory.rs", "src/ffi/options.rs"]),
    ("libc::iovec", &["src/sys/"]),
];

/// A source file without what the compiler does not see, and the module it is.
struct Source {
    path: String,
    code: String,
    module: Vec<String>,
}

#[test]
fn no_module_names_a_layer_above_its_own() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = source.module.first() else { continue };
        let Some(rank) = rank_of(own) else {
            wrong.push(format!("{}: {own} stands in no layer of this test", source.path));
            continue;
        };
        for named in modules_named(&source) {
            // Names of the crate's root that are no modules (macros, re-exports) have no rank.
            let apart = APART.iter().any(|(one, others)| one == own && others.contains(&named[0].as_str()));
            if apart || rank_of(&named[0]).is_some_and(|other| other > rank) {
                wrong.push(format!("{}: {own} may not name {}", source.path, named[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn implementations_of_one_trait_do_not_know_one_another() {
    let mut wrong = Vec::new();
    let sources = sources();
    for folder in STRANGERS {
        let members: Vec<&String> = sources
            .iter()
            .filter(|source| source.module.first().is_some_and(|first| first == folder))
            .filter_map(|source| source.module.get(1))
            .filter(|name| !SHARED.contains(&name.as_str()))
            .collect();
        for source in
            sources.iter().filter(|source| source.module.first().is_some_and(|first| first == folder))
        {
            let Some(own) = source.module.get(1).filter(|own| !SHARED.contains(&own.as_str())) else {
                continue;
            };
            for named in modules_named(source).iter().filter(|named| named[0] == *folder && named.len() > 1) {
                if named[1] != *own && members.contains(&&named[1]) {
                    wrong.push(format!("{}: {own} may not name {}", source.path, named.join("::")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whoever_decides_moves_no_bytes() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| DECIDING.iter().any(|part| source.path.starts_with(part)))
    {
        for named in modules_named(source).iter().filter(|named| MOVING.contains(&named[0].as_str())) {
            wrong.push(format!("{}: may not name {}", source.path, named[0]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_dangerous_stays_in_its_few_places() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("src/bin/")) {
        for (word, places) in CONFINED {
            let allowed = places
                .iter()
                .any(|place| source.path == *place || place.ends_with('/') && source.path.starts_with(place));
            if !allowed && holds(&source.code, word) {
                wrong.push(format!("{}: \"{word}\" belongs to {}", source.path, places.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_this_test_sees_uses_groups_and_parents() {
    let source = |path: &str, code: &str| Source {
        path: path.to_owned(),
        code: without_comments_and_texts(code),
        module: module_of(path),
    };
    let named = |path: &str, code: &str| -> Vec<String> {
        modules_named(&source(path, code)).iter().map(|parts| parts.join("::")).collect()
    };
    assert_eq!(named("src/sys/net.rs", "use crate::engine::Engine;"), ["engine::Engine"]);
    assert_eq!(named("src/sys/net.rs", "use crate::{error::Result, ffi};"), ["error::Result", "ffi"]);
    assert_eq!(named("src/sys/net.rs", "fn f() { super::super::engine::run() }"), ["engine::run"]);
    assert_eq!(named("src/sys/mod.rs", "use super::engine;"), ["engine"]);
    assert_eq!(named("src/transport/tcp/wire.rs", "use super::super::local::X;"), ["transport::local::X"]);
    assert_eq!(
        named("src/sys/net.rs", "// crate::engine\nlet a = \"crate::ffi\"; /* crate::ffi */"),
        [""; 0]
    );
    assert!(holds("unsafe { x }", "unsafe") && !holds("unsafe_op_in_unsafe_fn", "unsafe"));
}

fn rank_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Every file of the library: lib.rs, which names all, and the program above it are not judged.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let found: Vec<Source> =
        files.iter().map(|file| read(file)).filter(|source| source.path != "src/lib.rs").collect();
    assert!(found.len() > 20, "only {} files found under src", found.len());
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> Source {
    let path = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("it lies in this package").to_str();
    let path = path.expect("file names are UTF-8").to_owned();
    let code = without_comments_and_texts(&fs::read_to_string(file).expect("it was just listed"));
    Source { module: module_of(&path), path, code }
}

/// "src/transport/tcp/wire.rs" is ["transport", "tcp", "wire"]; the program has none.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    if inner.starts_with("bin/") {
        return Vec::new();
    }
    inner.split('/').filter(|part| *part != "mod").map(str::to_owned).collect()
}

/// What the code names from the crate's root on, as ["transport", "tcp", "Lane"].
fn modules_named(source: &Source) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        follow(&source.code[at + "crate::".len()..], &[], &mut found);
    }
    for (at, _) in source.code.match_indices("super::") {
        if source.code[..at].ends_with("super::") {
            continue;
        }
        let rest = source.code[at..].trim_start_matches("super::");
        let steps = (source.code.len() - at - rest.len()) / "super::".len();
        let base = source.module.len().saturating_sub(steps);
        follow(rest, &source.module[..base], &mut found);
    }
    found
}

/// Reads a path, or each path of a group in braces (one level: deeper ones begin with the same module).
fn follow(rest: &str, base: &[String], found: &mut Vec<Vec<String>>) {
    if let Some(group) = rest.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    follow(group[start..at].trim(), base, found);
                    start = at + 1;
                    if letter == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let path: String =
        rest.chars().take_while(|letter| letter.is_alphanumeric() || "_:".contains(*letter)).collect();
    let named = path.split("::").filter(|part| !part.is_empty() && *part != "self").map(str::to_owned);
    let full: Vec<String> = base.iter().cloned().chain(named).collect();
    if full.len() > base.len() {
        found.push(full);
    }
}

/// True if `word` stands in the code as a word of its own.
fn holds(code: &str, word: &str) -> bool {
    let inside =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    code.match_indices(word).any(|(at, _)| {
        !inside(code[..at].chars().next_back()) && !inside(code[at + word.len()..].chars().next())
    })
}

fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if letter == '"' {
            end_of_text(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escaped) = rest.strip_prefix("'\\") {
            escaped.find('\'').map_or(rest.len(), |end| end + 3)
        } else {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn end_of_text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return at + 1,
            _ => escaped = false,
        }
    }
    rest.len()
}
