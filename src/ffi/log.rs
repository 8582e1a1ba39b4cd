//! Where the log goes. The library never prints unless it is told to.

use std::ffi::{c_char, c_void};

use super::boundary::call;
use super::status::mc_status_t;
use crate::telemetry;

/// How much a log line matters; a level includes all below it.
pub type mc_log_level_t = u32;
/// Nothing.
pub const MC_LOG_LEVEL_OFF: mc_log_level_t = 0;
/// Something failed and somebody should know.
pub const MC_LOG_LEVEL_ERROR: mc_log_level_t = 1;
/// Something is wrong and was worked around.
pub const MC_LOG_LEVEL_WARN: mc_log_level_t = 2;
/// What was bound, advertised, chosen, and why. The default.
pub const MC_LOG_LEVEL_INFO: mc_log_level_t = 3;
/// Connections and decisions, one line each.
pub const MC_LOG_LEVEL_DEBUG: mc_log_level_t = 4;
/// Everything.
pub const MC_LOG_LEVEL_TRACE: mc_log_level_t = 5;

/// Receives one log line, NUL-terminated and without a line feed, valid during the call.
///
/// Called from any thread, the library's own included, possibly from several at once. It must not call back into
/// the library.
pub type mc_log_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        level: mc_log_level_t,
        target: *const c_char,
        message: *const c_char,
    ),
>;

/// Is told that user_data will not be used again.
pub type mc_drop_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Sends the log of every engine of this process to a callback, instead of nowhere.
///
/// Replaces the callback set before, whose `drop` runs when its last call has returned.
///
/// @param callback  NULL: the log goes nowhere, as at the start
/// @param user_data  handed to the callback; kept until `drop` is called
/// @param drop  may be NULL
/// Errors: none besides MC_ERR_INTERNAL.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_log_set_callback(
    callback: mc_log_fn,
    user_data: *mut c_void,
    drop: mc_drop_fn,
) -> mc_status_t {
    call(|| {
        let sink = callback.map(|callback| Callback { callback, user_data, drop });
        telemetry::log::set_sink(sink.map(|sink| Box::new(sink) as Box<dyn telemetry::log::Sink>));
        Ok(())
    })
}

/// Chooses how much is logged, for every engine of this process.
///
/// @param level  MC_LOG_LEVEL_*
/// Errors: MC_ERR_INVALID_ARGUMENT (no such level).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_log_set_level(level: mc_log_level_t) -> mc_status_t {
    call(|| telemetry::log::set_level(level))
}

struct Callback {
    callback: unsafe extern "C" fn(*mut c_void, mc_log_level_t, *const c_char, *const c_char),
    user_data: *mut c_void,
    drop: mc_drop_fn,
}

// SAFETY: the header says that the callback is called from any thread, possibly from several at once.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl telemetry::log::Sink for Callback {
    fn line(&self, level: u32, target: &std::ffi::CStr, message: &std::ffi::CStr) {
        // SAFETY: the caller of mc_log_set_callback vouches for the function and its user_data until drop.
        unsafe { (self.callback)(self.user_data, level, target.as_ptr(), message.as_ptr()) }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: called once, after the last call of the callback has returned.
            unsafe { drop(self.user_data) }
        }
    }
}
