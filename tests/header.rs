//! The checked-in header is what cbindgen makes of src/ffi, and every function in it is documented.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(config);
    // File order is header order.
    for file in [
        "status",
        "version",
        "log",
        "engine",
        "memory",
        "segment",
        "batch",
        "cq",
        "notify",
        "store",
        "store_put",
        "store_get",
        "store_keys",
        "store_tasks",
        "conductor",
        "conductor_instance",
        "conductor_blocks",
        "conductor_schedule",
        "conductor_hooks",
        "node",
        "diagnostics",
    ] {
        builder = builder.with_src(root().join(format!("src/ffi/{file}.rs")));
    }
    let bindings = builder.generate().expect("cbindgen parses src/ffi");
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).expect("headers are UTF-8")
}

#[test]
fn checked_in_header_equals_the_code() {
    let path = root().join("include/mooncake/api.h");
    let made = generated();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &made).expect("writing the header");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(made == kept, "include/mooncake/api.h differs from src/ffi: BLESS=1 cargo test --test header");
}

#[test]
fn every_function_is_documented_as_the_template_says() {
    let header = generated();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (at, _) in header.match_indices("MC_API\n").chain(header.match_indices("MC_API ")) {
        let declaration = header[at..].split(';').next().unwrap_or_default();
        let name =
            declaration.split('(').next().and_then(|left| left.rsplit([' ', '*']).next()).unwrap_or_default();
        let before = header[..at].trim_end();
        let comment = if before.ends_with("*/") { &before[before.rfind("/**").unwrap_or(0)..] } else { "" };
        seen += 1;
        for part in ["Errors:", "Since:"] {
            if !comment.contains(part) {
                wrong.push(format!("{name}: no \"{part}\""));
            }
        }
        for parameter in parameters(declaration) {
            if !comment.contains(&parameter) {
                wrong.push(format!("{name}: @param {parameter} is missing"));
            }
        }
    }
    assert!(seen > 40, "only {seen} functions found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn parameters(declaration: &str) -> Vec<String> {
    let inside = declaration.split_once('(').map_or("", |(_, right)| right.trim_end_matches(')'));
    inside
        .split(',')
        .filter_map(|one| one.trim().rsplit([' ', '*']).next().map(str::to_owned))
        .filter(|name| !name.is_empty() && name != "void")
        .map(|name| name.trim_end_matches(')').to_owned())
        .collect()
}
