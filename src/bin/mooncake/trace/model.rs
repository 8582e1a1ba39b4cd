//! What the published conversation hour looks like, in numbers: the constants from which traces are generated.
//!
//! Measured on Mooncake's conversation trace (12,031 requests); docs/trace.md says how, and compares the result.

use super::random::Quantiles;

/// Tokens of one block.
pub const BLOCK_TOKENS: i64 = 512;

/// Time stamps are multiples of this: the published trace was recorded in steps of three seconds.
pub const TICK_MS: u64 = 3000;

/// Length of the published hour: 1,180 ticks.
pub const HOUR_SECONDS: u64 = 3540;

/// Thousandths of a request per tick at the start of the hour, and how many more there are at its end.
pub const RATE_AT_START: u64 = 8_900;
pub const RATE_RISE: u64 = 2_600;

/// Shortest and longest input: a system prompt and a few words; the context window less the longest output.
pub const INPUT_MIN: i64 = 891;
pub const INPUT_MAX: i64 = 126_195;

/// Tokens of input of a session's first turn. A quarter is little more than the system prompt; the rest is spread
/// like a logarithm of a normal distribution.
#[rustfmt::skip]
pub const FIRST_INPUT: Quantiles = Quantiles(&[
    (0, INPUT_MIN), (20, 895), (50, 897), (100, 905), (150, 943), (200, 1_092), (250, 1_336), (300, 1_757),
    (350, 2_767), (400, 3_913), (450, 4_587), (500, 5_264), (550, 6_188), (600, 7_418), (650, 8_828),
    (700, 10_771), (750, 13_056), (800, 15_871), (850, 19_437), (900, 25_559), (930, 31_725), (950, 38_494),
    (970, 51_772), (980, 67_126), (990, 89_868), (995, 111_632), (1000, INPUT_MAX),
]);

/// Tokens of output of any turn.
#[rustfmt::skip]
pub const OUTPUT: Quantiles = Quantiles(&[
    (0, 1), (20, 3), (50, 10), (100, 24), (150, 46), (200, 100), (250, 156), (300, 213), (350, 256),
    (400, 291), (450, 322), (500, 350), (550, 375), (600, 399), (650, 423), (700, 447), (750, 472),
    (800, 504), (850, 543), (900, 597), (930, 648), (950, 698), (970, 800), (980, 892), (990, 1_119),
    (995, 1_568), (1000, 2_000),
]);

/// Of a thousand sessions that have had 1, 2, ... turns, how many come back for one more; the last goes on for ever.
pub const RETURNS: &[u64] = &[345, 445, 575, 680, 730, 770, 810, 840, 860, 880, 890];

/// What the tokens of a turn's input make of that chance, in permille: (fewer than, permille).
pub const RETURNS_BY_INPUT: &[(i64, u64)] =
    &[(2_000, 1_000), (16_000, 1_110), (32_000, 980), (i64::MAX, 760)];

/// Milliseconds from one turn to the next.
#[rustfmt::skip]
pub const RETURN_AFTER_MS: Quantiles = Quantiles(&[
    (0, 3_000), (20, 18_000), (50, 30_000), (100, 42_000), (150, 51_000), (200, 60_000), (250, 66_000),
    (300, 75_000), (350, 84_000), (400, 96_000), (450, 108_000), (500, 123_000), (550, 138_000),
    (600, 162_000), (650, 189_000), (700, 222_000), (750, 264_000), (800, 318_000), (850, 390_000),
    (900, 483_000), (930, 558_000), (950, 615_000), (970, 750_000), (980, 1_031_000), (990, 1_477_000),
    (995, 1_908_000), (1000, 3_030_000),
]);

/// Tokens that a next turn adds to the last turn's input and output: mostly a short question, sometimes a file.
/// Negative where the service kept less of the output.
#[rustfmt::skip]
pub const QUESTION: Quantiles = Quantiles(&[
    (0, -1_291), (20, -111), (50, -21), (100, -4), (150, 6), (200, 7), (250, 9), (300, 11), (350, 13),
    (400, 16), (450, 20), (500, 26), (550, 33), (600, 52), (650, 88), (700, 172), (750, 356), (800, 694),
    (850, 2_543), (900, 4_194), (930, 5_531), (950, 6_921), (970, 9_350), (980, 11_727), (990, 16_705),
    (995, 22_204), (998, 32_000), (1000, 91_467),
]);

/// Of a thousand next turns, how many find their context rewritten from early on (old files or search results
/// replaced), by the blocks of the turn before: (fewer than, permille).
pub const REWRITES: &[(usize, u64)] = &[(6, 6), (14, 35), (18, 88), (64, 290), (usize::MAX, 165)];

/// Blocks that a rewritten context still shares with the turn before.
#[rustfmt::skip]
pub const REWRITE_KEEPS: Quantiles = Quantiles(&[
    (0, 2), (250, 3), (400, 4), (500, 6), (600, 8), (700, 12), (800, 17), (850, 20), (900, 27), (930, 36),
    (950, 46), (970, 61), (1000, 145),
]);

/// Tokens of a rewritten input, in permille of the turn before.
#[rustfmt::skip]
pub const REWRITE_LENGTH: Quantiles = Quantiles(&[
    (0, 170), (20, 380), (50, 510), (100, 610), (200, 720), (300, 840), (400, 930), (500, 990), (600, 1_030),
    (700, 1_080), (800, 1_160), (850, 1_260), (900, 1_380), (950, 1_680), (980, 2_380), (995, 2_970),
    (1000, 7_720),
]);
