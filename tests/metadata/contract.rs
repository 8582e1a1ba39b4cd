//! What every backend promises, run on each of them.

use std::sync::Arc;

use mooncake::error::{Code, Result};
use mooncake::metadata::{KEY_MAX, MetadataBackend, VALUE_MAX};

use crate::place::Place;

pub fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("an error").code
}

/// Runs each promise on each of some backends.
macro_rules! contract {
    (on $backends:tt $($name:ident($place:ident) $body:block)*) => {
        $(contract!(@one $backends $name($place) $body);)*
    };
    (@one [$($backend:ident),*] $name:ident($place:ident) $body:block) => {
        mod $name {
            use super::*;
            fn promise($place: Place) $body
            $(#[test]
            fn $backend() {
                if let Some(place) = Place::$backend() {
                    promise(place);
                }
            })*
        }
    };
}

contract! {
    on [memory, file, redis, etcd, http, mooncakes]

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
        if !place.lists {
            assert_eq!(code(backend.list("")), Code::Unsupported);
            return;
        }
        let mut sorted = keys.map(str::to_owned).to_vec();
        sorted.sort();
        assert_eq!(backend.list("").expect("list"), sorted);
    }

    keys_and_values_have_bounds(place) {
        let backend = place.open();
        assert_eq!(code(backend.set("", b"")), Code::InvalidArgument);
        assert_eq!(code(backend.get(&"k".repeat(KEY_MAX + 1))), Code::InvalidArgument);
        assert_eq!(code(backend.create("a", &vec![0; VALUE_MAX + 1])), Code::InvalidArgument);
        backend.set("a", &vec![7; place.value_max]).expect("the largest value");
        assert_eq!(backend.get("a").expect("get").map(|value| value.len()), Some(place.value_max));
    }
}

// Mooncake's own server has neither lists nor claims.
contract! {
    on [memory, file, redis, etcd, http]

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
}
