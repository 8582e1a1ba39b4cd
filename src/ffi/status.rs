//! Status codes as C sees them. The one table is `error::TABLE`; a test compares the constants with it.

use std::ffi::{CStr, c_char};

use crate::error::Code;

/// Result of every call: MC_OK or a negative code. The numbers are permanent.
pub type mc_status_t = i32;

/// Success.
pub const MC_OK: mc_status_t = 0;

/// An argument is outside its documented range. Caller's mistake: do not retry.
pub const MC_ERR_INVALID_ARGUMENT: mc_status_t = -1;
/// The handle is NULL, stale, foreign or was never valid.
pub const MC_ERR_INVALID_HANDLE: mc_status_t = -2;
/// This build or this host cannot do that.
pub const MC_ERR_UNSUPPORTED: mc_status_t = -3;
/// The caller's buffer is too small; the full length was reported.
pub const MC_ERR_BUFFER_TOO_SMALL: mc_status_t = -4;
/// The object is not in a state that allows this call.
pub const MC_ERR_INVALID_STATE: mc_status_t = -5;
/// The memory is not registered, or no longer.
pub const MC_ERR_ADDRESS_NOT_REGISTERED: mc_status_t = -6;

/// In use at the moment: try later.
pub const MC_ERR_BUSY: mc_status_t = -20;
/// The deadline passed.
pub const MC_ERR_TIMEOUT: mc_status_t = -21;
/// Canceled on request.
pub const MC_ERR_CANCELED: mc_status_t = -22;
/// A bounded queue or table is full: try later.
pub const MC_ERR_EXHAUSTED: mc_status_t = -23;
/// No memory or disk space left for this.
pub const MC_ERR_NO_SPACE: mc_status_t = -24;
/// A quota is used up.
pub const MC_ERR_QUOTA_EXCEEDED: mc_status_t = -25;
/// Not finished yet.
pub const MC_ERR_NOT_READY: mc_status_t = -26;

/// Nothing exists under that name.
pub const MC_ERR_NOT_FOUND: mc_status_t = -40;
/// The name is taken.
pub const MC_ERR_ALREADY_EXISTS: mc_status_t = -41;
/// The lease ran out.
pub const MC_ERR_LEASE_EXPIRED: mc_status_t = -42;
/// The owner does not allow this.
pub const MC_ERR_PERMISSION: mc_status_t = -43;
/// The peers do not share a key.
pub const MC_ERR_UNAUTHENTICATED: mc_status_t = -44;
/// The peers speak no common protocol version.
pub const MC_ERR_VERSION_MISMATCH: mc_status_t = -45;

/// The peer does not answer. A write that was under way is undefined at the peer until it was met again.
pub const MC_ERR_UNREACHABLE: mc_status_t = -60;
/// The connection to the peer broke.
pub const MC_ERR_CONNECTION_LOST: mc_status_t = -61;
/// The peer restarted; its memory is new.
pub const MC_ERR_PEER_RESTARTED: mc_status_t = -62;
/// The peer refused.
pub const MC_ERR_REJECTED: mc_status_t = -63;

/// The bytes do not match their checksum.
pub const MC_ERR_CORRUPTED: mc_status_t = -80;
/// A device reported an error.
pub const MC_ERR_DEVICE: mc_status_t = -81;
/// The operating system reported an error.
pub const MC_ERR_IO: mc_status_t = -82;

/// A defect in this library: please report it with the log.
pub const MC_ERR_INTERNAL: mc_status_t = -99;

/// Returns the name of a status without its prefix, such as "TIMEOUT"; "UNKNOWN" for a number that is none.
///
/// @param status  any number
/// Errors: none. The text is static.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_status_name(status: mc_status_t) -> *const c_char {
    text_of(status, |row| row.name)
}

/// Returns one static sentence about a status.
///
/// @param status  any number
/// Errors: none. The text is static.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_status_text(status: mc_status_t) -> *const c_char {
    text_of(status, |row| row.text)
}

/// Tells whether the same call may succeed later without a change by the caller.
///
/// @param status  any number
/// Errors: none; false for MC_OK and for a number that is no status.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_status_is_retryable(status: mc_status_t) -> bool {
    Code::from_raw(status).is_some_and(Code::is_retryable)
}

/// Returns what went wrong in this thread's last failing call, with names of peers and what to do.
///
/// The text is valid until the next failing call of this thread; "" before the first. Completions carry a
/// code only: their story is in the log.
///
/// Errors: none.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_last_error_message() -> *const c_char {
    super::boundary::last_message()
}

struct Row {
    status: mc_status_t,
    name: &'static CStr,
    text: &'static CStr,
}

fn text_of(status: mc_status_t, field: fn(&Row) -> &'static CStr) -> *const c_char {
    static ROWS: std::sync::OnceLock<Vec<Row>> = std::sync::OnceLock::new();
    const OK: Row = Row { status: MC_OK, name: c"OK", text: c"success" };
    const UNKNOWN: Row = Row { status: 1, name: c"UNKNOWN", text: c"not a status of this library" };
    let rows = ROWS.get_or_init(|| {
        let c_text = |text: &str| -> &'static CStr {
            let owned = std::ffi::CString::new(text).expect("the table's texts hold no NUL");
            Box::leak(owned.into_boxed_c_str())
        };
        crate::error::TABLE
            .iter()
            .map(|row| Row { status: row.0 as i32, name: c_text(row.1), text: c_text(row.2) })
            .collect()
    });
    if status == MC_OK {
        return field(&OK).as_ptr();
    }
    field(rows.iter().find(|row| row.status == status).unwrap_or(&UNKNOWN)).as_ptr()
}
