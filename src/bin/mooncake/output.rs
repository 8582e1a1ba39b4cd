//! Standard output, which may be a pipe whose reader has seen enough.

use std::fmt::Arguments;
use std::io::Write;

/// Prints a line. When nobody reads any more there is nothing left to do, and nothing went wrong.
pub fn line(text: Arguments<'_>) {
    let mut output = std::io::stdout().lock();
    if writeln!(output, "{text}").and_then(|()| output.flush()).is_err() {
        std::process::exit(0);
    }
}

/// `println!` for results.
macro_rules! say {
    ($($arg:tt)*) => { $crate::output::line(format_args!($($arg)*)) };
}
