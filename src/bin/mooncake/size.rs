//! Amounts of memory, as people write them.

/// "4096", "64K", "512MiB", "4GB": all of them in steps of 1024.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: a number of bytes, or one with K, M, G or T");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, bytes) in [("0", 0), ("7", 7), ("4K", 4096), ("4GiB", 4 << 30), ("2 mb", 2 << 20)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "1X", "-1", "1.5G", "99999999T", "4 G i B"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
