//! The arrays that getNotifsFromEngine() hands out: kept here until they are freed, so that freeing anything else, or
//! twice, is an error and no more.

use std::collections::HashMap;
use std::ffi::c_char;
use std::sync::LazyLock;

use parking_lot::Mutex;

use super::layout::notify_msg;
use crate::bail;
use crate::error::Result;

/// An array and the texts that it points to. Neither moves until it is dropped.
struct Handed {
    array: Box<[notify_msg]>,
    _texts: Vec<Box<[u8]>>,
}

// SAFETY: the pointers lead into the texts that it owns.
unsafe impl Send for Handed {}

static HANDED: LazyLock<Mutex<HashMap<usize, Handed>>> = LazyLock::new(Mutex::default);

/// An array for C; NULL for no notifications.
pub fn hand_out(notifications: Vec<(String, Vec<u8>)>) -> *mut notify_msg {
    if notifications.is_empty() {
        return std::ptr::null_mut();
    }
    let mut texts = Vec::with_capacity(notifications.len() * 2);
    let mut text = |bytes: Vec<u8>| -> *mut c_char {
        let mut bytes = bytes;
        bytes.push(0);
        let mut kept = bytes.into_boxed_slice();
        let pointer = kept.as_mut_ptr().cast();
        texts.push(kept);
        pointer
    };
    let array: Box<[notify_msg]> = notifications
        .into_iter()
        .map(|(name, message)| notify_msg { name: text(name.into_bytes()), msg: text(message) })
        .collect();
    let mut handed = Handed { array, _texts: texts };
    let pointer = handed.array.as_mut_ptr();
    HANDED.lock().insert(pointer as usize, handed);
    pointer
}

pub fn take_back(pointer: *mut notify_msg) -> Result<()> {
    if !pointer.is_null() && HANDED.lock().remove(&(pointer as usize)).is_none() {
        bail!(InvalidArgument, "{pointer:p} is no array of getNotifsFromEngine(), or was freed before");
    }
    Ok(())
}
