//! What every backend promises, run on each of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::error::Code;

/// A place for a backend, new and empty.
struct Place {
    url: String,
    directory: Option<PathBuf>,
}

impl Place {
    fn memory() -> Place {
        Place { url: format!("memory://test-{}", number()), directory: None }
    }

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

/// Runs one promise on every backend.
macro_rules! contract {
    ($($name:ident($place:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            fn promise($place: Place) $body
            #[test]
            fn memory() { promise(Place::memory()) }
            #[test]
            fn file() { promise(Place::file()) }
        }
    )*};
}

contract! {
    what_was_set_can_be_got_until_it_is_removed(place) {
        let backend = place.open();
        assert_eq!(backend.get("a").expect("get"), None);
        backend.set("a", b"one").expect("set");
        backend.set("a", b"two").expect("set");
        assert_eq!(place.open().get("a").expect("get"), Some(b"two".to_vec()));
        backend.remove("a").expect("remove");
        backend.remove("a").expect("removing nothing");
        assert_eq!(backend.get("a").expect("get"), None);
    }

    any_key_and_any_bytes_are_kept_apart(place) {
        let backend = place.open();
        let long = "k/".repeat(KEY_MAX / 2);
        let keys = ["a", "A", ".", "..", "a/b", "../x", "ü\n%2e", "=61", ".lock", long.as_str(), &long[1..]];
        for key in keys {
            backend.set(key, key.as_bytes()).expect("set");
        }
        for key in keys {
            assert_eq!(backend.get(key).expect("get"), Some(key.as_bytes().to_vec()), "{key:?}");
        }
        backend.set("a", &[0, 10, 255]).expect("set");
        assert_eq!(backend.get("a").expect("get"), Some(vec![0, 10, 255]));
        backend.set("a", b"").expect("an empty value");
        assert_eq!(backend.get("a").expect("get"), Some(Vec::new()));
        let mut sorted = keys.map(str::to_owned).to_vec();
        sorted.sort();
        assert_eq!(backend.list("").expect("list"), sorted);
    }

    a_list_has_the_keys_with_the_prefix_in_order(place) {
        let backend = place.open();
        for key in ["engine/b", "engine/a", "engin", "store/a"] {
            backend.set(key, b"x").expect("set");
        }
        assert_eq!(backend.list("engine/").expect("list"), ["engine/a", "engine/b"]);
        assert!(backend.list("none").expect("list").is_empty());
    }

    a_claimed_key_is_taken_until_its_owner_removes_it(place) {
        let (owner, other) = (place.open(), place.open());
        owner.create("name", b"1").expect("create");
        assert_eq!(code(other.create("name", b"2")), Code::AlreadyExists);
        owner.create("name", b"3").expect("the owner may repeat it");
        assert_eq!(other.get("name").expect("get"), Some(b"3".to_vec()));
        owner.remove("name").expect("remove");
        other.create("name", b"4").expect("it is free now");
        assert_eq!(code(owner.create("name", b"5")), Code::AlreadyExists);
    }

    a_claim_ends_with_its_owner(place) {
        let keeps_the_store = place.open();
        let owner = place.open();
        owner.create("name", b"1").expect("create");
        drop(owner);
        assert_eq!(keeps_the_store.get("name").expect("get"), Some(b"1".to_vec()));
        keeps_the_store.create("name", b"2").expect("its owner is gone");
    }

    one_of_many_claims_wins(place) {
        let keeps_the_store = place.open();
        let handles: Vec<_> = (0..8).map(|_| place.open()).collect();
        for round in 0..20 {
            let barrier = std::sync::Barrier::new(handles.len());
            let claim = &|handle: &Arc<dyn MetadataBackend>| {
                barrier.wait();
                handle.create("name", b"x").is_ok()
            };
            let winners: Vec<&Arc<dyn MetadataBackend>> = std::thread::scope(|scope| {
                let threads: Vec<_> = handles.iter().map(|handle| (handle, scope.spawn(move || claim(handle)))).collect();
                let claims = threads.into_iter().map(|(handle, thread)| (handle, thread.join().expect("a claim ends")));
                claims.filter(|(_, won)| *won).map(|(handle, _)| handle).collect()
            });
            assert_eq!(winners.len(), 1, "round {round}");
            winners[0].remove("name").expect("remove");
        }
        assert_eq!(keeps_the_store.get("name").expect("get"), None);
    }

    keys_and_values_have_bounds(place) {
        let backend = place.open();
        assert_eq!(code(backend.set("", b"")), Code::InvalidArgument);
        assert_eq!(code(backend.get(&"k".repeat(KEY_MAX + 1))), Code::InvalidArgument);
        assert_eq!(code(backend.create("a", &vec![0; VALUE_MAX + 1])), Code::InvalidArgument);
        backend.set("a", &vec![7; VALUE_MAX]).expect("the largest value");
        assert_eq!(backend.get("a").expect("get").map(|value| value.len()), Some(VALUE_MAX));
    }
}

#[test]
fn an_unknown_url_is_refused_with_what_is_possible() {
    for url in ["", "memory://", "file://relative", "etcd://host", "/tmp"] {
        let error = open(url).err().expect("an error");
        assert_eq!(error.code, Code::InvalidArgument, "{url}");
        assert!(error.message().contains("memory://NAME"), "{error}");
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
