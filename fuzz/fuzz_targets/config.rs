//! A configuration file of any content: a configuration or an error that names the file. First byte even: TOML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::config::{Config, Given};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, content)) = bytes.split_first() else { return };
    let extension = if kind % 2 == 0 { "toml" } else { "json" };
    let path = format!("/dev/shm/mooncake-fuzz-{}.{extension}", std::process::id());
    std::fs::write(&path, content).expect("/dev/shm is writable");
    let given = Given { no_environment: true, config_file: Some(path.clone()), ..Given::default() };
    let loaded = Config::load(given);
    std::fs::remove_file(&path).expect("written above");
    match loaded {
        Ok(config) => {
            assert!((1..=16).contains(&config.lanes) && (1..=64).contains(&config.worker_threads));
            assert!(!config.to_json().is_empty());
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
});
