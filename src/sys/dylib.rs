//! Vendor libraries opened at run time: the host's own copy, or none.

use std::ffi::{CStr, CString, c_void};
use std::ptr::NonNull;

/// An open library. It is never closed: vendor libraries start threads and register exit handlers that outlive a close.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    handle: NonNull<c_void>,
}

// SAFETY: a handle of dlopen may be used from any thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// Opens a library by its file name, through the loader's usual search. On failure the loader's own words.
    pub fn open(file_name: &str) -> Result<Library, String> {
        let name = CString::new(file_name).map_err(|_| "the name holds a NUL".to_owned())?;
        // SAFETY: the name is NUL-terminated. What the library's initialisers do is its vendor's promise.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
        NonNull::new(handle).map(|handle| Library { handle }).ok_or_else(last_error)
    }

    /// The address of a symbol, if the library has it. Calling it under a wrong type is the danger, and so the caller's.
    pub fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: the handle stays open for ever, the name is NUL-terminated.
        NonNull::new(unsafe { libc::dlsym(self.handle.as_ptr(), name.as_ptr()) })
    }
}

fn last_error() -> String {
    // SAFETY: returns NULL or a text of this thread that is valid until its next dl call.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the loader gave no reason".to_owned();
    }
    // SAFETY: not NULL, so NUL-terminated.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_of_the_host_has_its_symbols() {
        let library = Library::open("libc.so.6").expect("every glibc host has it");
        assert!(library.symbol(c"getpid").is_some());
        assert!(library.symbol(c"mooncake_no_such_symbol").is_none());
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = Library::open("libmooncake-none.so.9").expect_err("there is none");
        assert!(error.contains("libmooncake-none.so.9"), "{error}");
    }
}
