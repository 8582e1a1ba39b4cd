//! What is refused before a server is asked, and what only a directory does. What every backend promises is shown by
//! tests/metadata.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::error::Code;

/// A directory, new and empty.
struct Place {
    url: String,
    directory: Option<PathBuf>,
}

impl Place {
    fn file() -> Place {
        let path =
            PathBuf::from("/tmp").join(format!("mooncake-metadata-{}-{}", std::process::id(), number()));
        std::fs::create_dir(&path).expect("a temporary directory");
        Place { url: format!("file://{}", path.display()), directory: Some(path) }
    }

    fn open(&self) -> Arc<dyn MetadataBackend> {
        open(&self.url).expect("a backend")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(path) = &self.directory {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

fn number() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("an error").code
}

#[test]
fn an_unknown_url_is_refused_with_what_is_possible() {
    for url in ["", "memory://", "file://relative", "ftp://host", "/tmp"] {
        let error = open(url).err().expect("an error");
        assert_eq!(error.code, Code::InvalidArgument, "{url}");
        assert!(error.message().contains("memory://NAME"), "{error}");
    }
}

#[cfg(all(feature = "etcd", feature = "http", feature = "redis"))]
#[test]
fn a_url_that_a_server_could_not_mean_is_refused_before_it_is_asked() {
    for url in [
        "redis://h/x",
        "redis://h?ca=x",
        "redis://a,b",
        "rediss://h?cert=x",
        "http://h/?x=1",
        "etcd://",
        "etcds://h?ca=/none",
    ] {
        let error = open(url).err().expect("an error");
        assert!(matches!(error.code, Code::InvalidArgument | Code::Io), "{url}: {error}");
    }
    let error = open("redis://joe:secret@h/x").err().expect("an error");
    assert!(error.message().contains("joe:***@h") && !error.message().contains("secret"), "{error}");
}

#[test]
fn what_mooncake_takes_for_etcd_is_etcd() {
    let url = |text| legacy_url(text).expect("a URL");
    assert_eq!(url("h:2379"), "etcd://h:2379");
    assert_eq!(url("10.0.0.1:1,[::1]:2"), "etcd://10.0.0.1:1,[::1]:2");
    assert_eq!(url("redis://h:1"), "redis://h:1");
    for text in ["", "h", "h:x", "h:1/metadata", "P2PHANDSHAKE"] {
        assert_eq!(code(legacy_url(text)), Code::InvalidArgument, "{text}");
    }
}

#[test]
fn a_missing_directory_is_named() {
    let error = open("file:///nonexistent/mooncake").err().expect("an error");
    assert_eq!(error.code, Code::NotFound);
    assert!(
        error.message().contains("/nonexistent/mooncake: No such file or directory (os error 2); create it"),
        "{error}"
    );
}

#[test]
fn a_directory_that_vanishes_is_an_error_and_not_an_absent_key() {
    let place = Place::file();
    let backend = place.open();
    std::fs::remove_dir_all(place.directory.as_ref().expect("a directory")).expect("remove");
    assert_eq!(code(backend.get("a")), Code::NotFound);
    assert_eq!(code(backend.set("a", b"")), Code::NotFound);
}

#[test]
fn a_full_directory_says_no_space() {
    // /dev/full cannot be a directory; what the kernel says there is what a full one says.
    let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert_eq!(file::failure_code(&error), Code::NoSpace);
}

#[test]
fn what_crashed_writers_left_is_neither_listed_nor_kept() {
    let place = Place::file();
    let path = place.directory.clone().expect("a directory");
    let old = path.join("1-2-3.temporary");
    let new = path.join("4-5-6.temporary");
    std::fs::write(&old, "torn").expect("write");
    std::fs::write(&new, "being written").expect("write");
    let hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    std::fs::File::options()
        .write(true)
        .open(&old)
        .and_then(|file| file.set_modified(hours_ago))
        .expect("an old file");
    let backend = place.open();
    assert!(backend.list("").expect("list").is_empty());
    assert_eq!((old.exists(), new.exists()), (false, true));
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_value() {
    let place = Place::file();
    let backend = place.open();
    backend.set("a", b"x").expect("set");
    std::fs::write(place.directory.as_ref().expect("a directory").join("a.value"), "b\nx").expect("write");
    assert_eq!(code(backend.get("a")), Code::Corrupted);
}
