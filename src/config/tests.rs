//! Layers, ranges, and the documentation.

use std::ffi::OsString;

use super::*;
use crate::error::Code;

fn load(given: Given, environment: &[(&str, &str)]) -> Result<Config> {
    let get =
        |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Config::from_layers(given, env::read_from(get)?)
}

fn given() -> Given {
    Given::default()
}

fn message<T>(result: Result<T>) -> String {
    let error = result.err().expect("an error");
    assert!(matches!(error.code, Code::InvalidArgument), "{error}");
    error.message().to_owned()
}

/// A configuration file that goes away with the test.
struct File(std::path::PathBuf);

impl File {
    fn new(extension: &str, text: &str) -> File {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::path::PathBuf::from(format!(
            "/tmp/mooncake-config-{}-{number}.{extension}",
            std::process::id()
        ));
        std::fs::write(&path, text).expect("a temporary file");
        File(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn given(&self) -> Given {
        Given { config_file: Some(self.path()), ..given() }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn nothing_given_is_the_documented_default() {
    let config = load(given(), &[]).expect("defaults");
    assert!(config.listen && config.metrics && config.psk.is_none() && config.metadata.is_none());
    assert_eq!((config.bind, config.port, config.port_last), (Bind::Any, 0, 0));
    assert_eq!(config.checksum, Checksum::Default);
    assert_eq!(config.transports, Transports { local: true, memfd: true, cma: true, tcp: true });
    assert_eq!(
        (config.default_deadline, config.keepalive),
        (Duration::from_secs(60), Duration::from_secs(5))
    );
    assert_eq!(config.queue_limit, 1_048_576);
}

#[test]
fn lanes_and_threads_follow_the_processors() {
    let chosen = |processors| {
        let layers = Layers::with_defaults(setting::defaults(processors));
        (layers.count("lanes"), layers.count("worker_threads"))
    };
    assert_eq!([1, 2, 4, 8, 128].map(chosen), [(1, 1), (2, 2), (2, 4), (4, 4), (4, 4)]);
}

#[test]
fn options_are_stronger_than_the_environment_and_that_than_the_file() {
    let file = File::new("toml", "lanes = 3\nworker_threads = 3\nqueue_limit = 3\n");
    let environment = [("MC_LANES", "4"), ("MC_WORKER_THREADS", "4")];
    let config = load(Given { lanes: 5, ..file.given() }, &environment).expect("a configuration");
    assert_eq!((config.lanes, config.worker_threads, config.queue_limit), (5, 4, 3));
}

#[test]
fn the_dump_tells_each_value_and_its_source() {
    let file = File::new("json", r#"{"keepalive_ms": 700, "transports": ["tcp", "local"]}"#);
    let psk = b"a secret of some length".to_vec();
    let config =
        load(Given { psk, ..file.given() }, &[("MC_TCP_LANES_PER_PEER", "6")]).expect("a configuration");
    let json: serde_json::Value = serde_json::from_str(&config.to_json()).expect("JSON");
    let source = |key: &str| json[key]["source"].as_str().map(str::to_owned);
    assert_eq!(
        (json["keepalive_ms"]["value"].as_u64(), source("keepalive_ms")),
        (Some(700), Some("file".into()))
    );
    assert_eq!(json["keepalive_ms"]["from"], file.path());
    assert_eq!(json["transports"]["value"], "tcp,local");
    assert_eq!((json["lanes"]["value"].as_u64(), source("lanes")), (Some(6), Some("environment".into())));
    assert_eq!(json["lanes"]["from"], "MC_TCP_LANES_PER_PEER");
    assert_eq!((json["psk"]["value"].as_str(), source("psk")), (Some("23 bytes"), Some("options".into())));
    assert_eq!(source("queue_limit"), Some("default".into()));
    assert!(SETTINGS.iter().all(|setting| json[setting.key]["source"].is_string()));
    assert!(!config.to_json().contains("secret"));
}

#[test]
fn a_value_out_of_range_is_refused_with_setting_value_and_range() {
    let told = message(load(Given { lanes: 17, ..given() }, &[]));
    assert_eq!(told, "options: lanes is 17: must be a number from 1 to 16");
    let told = message(load(given(), &[("MC_LANES", "many")]));
    assert_eq!(told, "environment variable MC_LANES is \"many\": must be a number from 1 to 16");
    let told = message(load(given(), &[("MC_TRANSPORTS", "tcp,rdma")]));
    assert!(
        told.contains("MC_TRANSPORTS is \"tcp,rdma\": must be one or more of local, memfd, cma, tcp"),
        "{told}"
    );
    let file = File::new("toml", "keepalive_ms = 1");
    let told = message(load(file.given(), &[]));
    assert_eq!(
        told,
        format!("file {}: keepalive_ms is 1: must be a number from 10 to 86400000", file.path())
    );
    let told = message(load(Given { psk: vec![1; 15], ..given() }, &[]));
    assert_eq!(told, "options: psk is 15 bytes: must be 16 to 256 bytes");
    for bad in [
        Given { worker_threads: 65, ..given() },
        Given { checksum: 3, ..given() },
        Given { transports: Some(" ,".into()), ..given() },
        Given { name: Some("x".repeat(128)), ..given() },
        Given { name: Some(String::new()), ..given() },
        Given { name: Some("a\nb".into()), ..given() },
        Given { cidr: Some("10.0.0.0/33".into()), ..given() },
        Given { bind_address: Some("two words".into()), ..given() },
        Given { metadata: Some("nowhere".into()), ..given() },
        Given { queue_limit: u64::MAX, ..given() },
        Given { default_deadline_ms: u64::MAX, ..given() },
    ] {
        message(load(bad, &[]));
    }
}

#[test]
fn an_unknown_key_is_refused_with_file_and_key() {
    for (extension, text) in [("toml", "lane = 3"), ("json", r#"{"lane": 3}"#)] {
        let file = File::new(extension, text);
        let told = message(load(file.given(), &[]));
        assert!(told.starts_with(&format!("file {}: unknown key lane; known are", file.path())), "{told}");
    }
}

#[test]
fn a_file_that_is_none_is_refused_by_name() {
    let error = load(Given { config_file: Some("/nonexistent/x.toml".into()), ..given() }, &[])
        .err()
        .expect("an error");
    assert_eq!(
        (error.code, error.message()),
        (Code::NotFound, "configuration file /nonexistent/x.toml does not exist")
    );
    for (extension, text) in
        [("toml", "lanes = "), ("json", "[1]"), ("yaml", "lanes: 3"), ("toml", "lanes = \"3\"")]
    {
        let file = File::new(extension, text);
        assert!(message(load(file.given(), &[])).contains(&file.path()));
    }
    for text in ["psk = \"0123456789abcdef\"", "config_file = \"x.toml\""] {
        assert!(message(load(File::new("toml", text).given(), &[])).contains("unknown key"));
    }
}

#[test]
fn one_way_to_choose_an_address_per_layer_and_the_stronger_layer_wins() {
    let both = Given { bind_address: Some("::1".into()), cidr: Some("10.0.0.0/8".into()), ..given() };
    assert!(message(load(both, &[])).contains("give one of bind_address, network_interface and cidr"));
    let environment = [("MC_TCP_BIND_ADDRESS", "10.0.0.1")];
    let interface = Given { network_interface: Some("eth0".into()), ..given() };
    assert_eq!(load(interface, &environment).expect("a configuration").bind, Bind::Interface("eth0".into()));
    assert_eq!(load(given(), &environment).expect("a configuration").bind, Bind::Address("10.0.0.1".into()));
}

#[test]
fn ports_are_one_or_a_range() {
    let ports = |given: Given, environment: &[(&str, &str)]| {
        load(given, environment).map(|config| (config.port, config.port_last))
    };
    assert_eq!(ports(given(), &[("MC_PORT", "4000-4010")]).expect("a range"), (4000, 4010));
    assert_eq!(ports(given(), &[("MC_PORT", "4000")]).expect("a port"), (4000, 4000));
    assert_eq!(
        ports(Given { port: 5000, ..given() }, &[("MC_PORT", "4000-4010")]).expect("a port"),
        (5000, 5000)
    );
    assert_eq!(ports(Given { port: 5000, port_last: 5001, ..given() }, &[]).expect("a range"), (5000, 5001));
    assert_eq!(ports(given(), &[("MC_MIN_RPC_PORT", "16000")]).expect("a range"), (16_000, 17_000));
    assert_eq!(ports(given(), &[("MC_MAX_RPC_PORT", "16000")]).expect("a range"), (15_000, 16_000));
    assert!(
        message(ports(Given { port: 5000, port_last: 4999, ..given() }, &[])).contains("port_last is 4999")
    );
    assert!(message(ports(Given { port_last: 4999, ..given() }, &[])).contains("does not start at 0"));
    for bad in ["65536", "4000-", "-", "a-b"] {
        assert!(message(ports(given(), &[("MC_PORT", bad)])).contains("MC_PORT"), "{bad}");
    }
}

#[test]
fn a_native_variable_is_stronger_than_mooncakes_and_both_are_checked() {
    let both = [("MC_LANES", "3"), ("MC_TCP_LANES_PER_PEER", "7")];
    assert_eq!(load(given(), &both).expect("a configuration").lanes, 3);
    assert!(
        message(load(given(), &[("MC_LANES", "3"), ("MC_TCP_LANES_PER_PEER", "99")]))
            .contains("MC_TCP_LANES_PER_PEER")
    );
    let transports = load(given(), &[("MC_FORCE_TCP", "1")]).expect("a configuration").transports;
    assert_eq!(transports, Transports { local: false, memfd: false, cma: false, tcp: true });
    assert!(load(given(), &[("MC_FORCE_TCP", "0")]).expect("a configuration").transports.memfd);
}

#[test]
fn what_mooncake_has_in_variables_for_redis_is_for_redis_urls_that_lack_it() {
    let environment =
        [("MC_REDIS_USERNAME", "joe"), ("MC_REDIS_PASSWORD", "se/cret"), ("MC_REDIS_DB_INDEX", "7")];
    let url = |url: &str| {
        let given = Given { metadata: Some(url.to_owned()), ..given() };
        load(given, &environment).expect("a configuration").metadata.expect("a URL")
    };
    assert_eq!(url("redis://h:1"), "redis://joe:se%2Fcret@h:1/7");
    assert_eq!(url("redis://:own@h/1"), "redis://:own@h/1");
    assert_eq!(url("etcd://h:1"), "etcd://h:1");
}

#[test]
fn a_password_is_shown_nowhere() {
    let given = |url: &str| Given { metadata: Some(url.to_owned()), ..given() };
    let config =
        load(given("redis://joe:secret@h/1"), &[("MC_REDIS_PASSWORD", "secret")]).expect("a configuration");
    assert!(config.to_json().contains("redis://joe:***@h/1") && !config.to_json().contains("secret"));
    let long = format!("a://joe:secret@{}", "h".repeat(4096));
    for told in [
        message(load(given(&long), &[])),
        message(load(given(""), &[("MC_METADATA", &long)])),
        message(load(given(""), &[("MC_REDIS_PASSWORD", &"secret".repeat(1000))])),
    ] {
        assert!(!told.contains("secret"), "{told}");
    }
    let file = File::new("toml", "redis_password = \"secret\"");
    assert!(message(load(file.given(), &[])).contains("unknown key redis_password"));
}

#[test]
fn an_empty_variable_is_not_set_and_one_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStringExt;
    assert!(load(given(), &[("MC_LANES", "")]).is_ok());
    let broken = env::read_from(|name| (name == "MC_NAME").then(|| OsString::from_vec(vec![0xff])));
    assert_eq!(message(broken), "environment variable MC_NAME is not UTF-8");
}

#[test]
fn with_a_key_mooncakes_own_wire_needs_to_be_allowed_in_so_many_words() {
    let speaks = |compat: &str, has_key: bool| {
        let psk = if has_key { vec![1; 16] } else { Vec::new() };
        load(Given { psk, ..given() }, &[("MC_COMPAT", compat)]).expect("a configuration").speaks_mooncake()
    };
    assert_eq!(["off", "on", "allow"].map(|compat| speaks(compat, false)), [false, true, true]);
    assert_eq!(["off", "on", "allow"].map(|compat| speaks(compat, true)), [false, false, true]);
    assert!(!load(given(), &[]).expect("defaults").speaks_mooncake());
    let given = Given { compat: 2, metadata: Some("P2PHANDSHAKE".into()), ..given() };
    let config = load(given, &[("MC_COMPAT", "off")]).expect("a configuration");
    assert!(config.speaks_mooncake() && config.metadata.is_none());
}

#[test]
fn the_environment_can_be_ignored() {
    let config = Config::load(Given { no_environment: true, no_listen: true, no_metrics: true, ..given() });
    let config = config.expect("a configuration");
    assert!(!config.listen && !config.metrics);
    assert!(!config.to_json().contains("\"environment\""));
}

#[test]
fn a_key_file_is_read_without_its_line_feed() {
    let key = File::new("key", "0123456789abcdef\r\n");
    let from_environment = load(given(), &[("MC_PSK_FILE", &key.path())]).expect("a configuration");
    assert_eq!(from_environment.psk.as_deref(), Some(&b"0123456789abcdef"[..]));
    let file = File::new("toml", &format!("psk_file = {:?}", key.path()));
    assert_eq!(load(file.given(), &[]).expect("a configuration").psk, from_environment.psk);
    let short = File::new("key", "short");
    assert!(
        message(load(given(), &[("MC_PSK_FILE", &short.path())]))
            .contains("has 5 bytes: must be 16 to 256 bytes")
    );
}

#[test]
fn made_up_names_differ() {
    let name = || load(given(), &[]).expect("defaults").name;
    let (one, other) = (name(), name());
    assert!(one != other && one.len() <= NAME_MAX && !one.is_empty());
}

#[test]
fn every_variable_sets_a_setting() {
    for variable in ENVIRONMENT {
        assert!(setting::find(variable.key).is_some(), "{}", variable.name);
        assert!(variable.name.starts_with("MC_") && !variable.help.is_empty());
    }
}

/// What docs/configuration.md must say, made from the tables of the code.
fn documented_tables() -> [String; 2] {
    let shown = |processors: usize, key: &str| {
        let layers = Layers::with_defaults(setting::defaults(processors));
        let value = layers.get(key).map(|(value, _)| layer::shown(value));
        value.map_or("not set".to_owned(), |value| format!("`{}`", value.trim_matches('"')))
    };
    let file_key = |key: &str| if key == "psk" { "psk_file".to_owned() } else { key.to_owned() };
    let mut settings = String::new();
    for setting in SETTINGS {
        let [one, two, eight] = [1, 2, 8].map(|processors| shown(processors, setting.key));
        let default = match setting.key {
            "name" => "host, process id and a number".to_owned(),
            "port_last" => "`port`".to_owned(),
            "log_level" => format!("`{}`", telemetry::log::LEVELS[telemetry::log::DEFAULT_LEVEL as usize]),
            _ if one != eight => format!("{one} on 1 processor, {two} on 2, {eight} on 8 or more"),
            _ => one,
        };
        settings += &format!("| `{}` | {} | {default} |\n", file_key(setting.key), setting.kind.range());
    }
    let variable = |variable: &Variable| {
        format!("| `{}` | `{}` | {} |\n", variable.name, file_key(variable.key), variable.help)
    };
    [settings, ENVIRONMENT.iter().map(variable).collect()]
}

#[test]
fn the_documentation_has_every_setting_and_variable_as_the_code_has_it() {
    let page = include_str!("../../docs/configuration.md");
    for table in documented_tables() {
        assert!(page.contains(&table), "docs/configuration.md lacks this table:\n{table}");
    }
}

/// What docs/compat.md must say of Mooncake's variables.
fn documented_mooncake() -> String {
    let row = |variable: &mooncake::MooncakeVariable| {
        format!("| `{}` | {} | {} |\n", variable.name, variable.treatment.word(), variable.how)
    };
    mooncake::VARIABLES.iter().map(row).collect()
}

#[test]
fn the_documentation_has_every_variable_of_mooncake_as_the_code_has_it() {
    let page = include_str!("../../docs/compat.md");
    let table = documented_mooncake();
    assert!(page.contains(&table), "docs/compat.md lacks this table:\n{table}");
}

#[test]
fn what_is_said_of_a_variable_of_mooncake_agrees_with_what_is_read() {
    use mooncake::Treatment;
    let names: std::collections::HashSet<&str> =
        mooncake::VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(names.len(), mooncake::VARIABLES.len(), "a variable stands there twice");
    // Those that the legacy API reads itself.
    let own = ["MC_LEGACY_RPC_PORT_BINDING", "MC_HANDSHAKE_PORT", "MC_CUSTOM_TOPO_JSON", "MC_TE_FILTERS"];
    for variable in mooncake::VARIABLES {
        let is_read =
            ENVIRONMENT.iter().any(|native| native.name == variable.name) || own.contains(&variable.name);
        assert_eq!(is_read, variable.treatment != Treatment::Ignored, "{}", variable.name);
    }
    for native in ENVIRONMENT.iter().filter(|native| native.help.contains("Mooncakes call it")) {
        assert!(names.contains(native.name), "{}", native.name);
    }
}

#[test]
fn what_is_set_and_has_no_effect_is_found() {
    let get = |name: &str| match name {
        "MC_GID_INDEX" => Some("3".to_owned()),
        "MC_FORCE_TCP" => Some("1".to_owned()),
        "MC_TE_FILTERS" => Some("mlx5_0, mlx5_1".to_owned()),
        "MC_LEGACY_RPC_PORT_BINDING" => Some("0".to_owned()),
        "MC_HANDSHAKE_PORT" => Some("13000".to_owned()),
        _ => None,
    };
    let environment = mooncake::Environment::read_from(get);
    let ignored: Vec<&str> = environment.ignored.iter().map(|variable| variable.name).collect();
    assert_eq!(ignored, ["MC_GID_INDEX"]);
    assert!(environment.force_tcp && environment.is_port_literal && !environment.has_compat);
    assert_eq!(environment.filters, ["mlx5_0", "mlx5_1"]);
    assert_eq!(environment.handshake_port, 13_000);
}

#[test]
fn a_deadline_may_be_said_in_seconds_as_mooncake_does() {
    let deadline =
        |text: &str| load(given(), &[("MC_SLICE_TIMEOUT", text)]).map(|config| config.default_deadline);
    assert_eq!(deadline("7").expect("seconds"), Duration::from_secs(7));
    assert_eq!(deadline("-1").expect("off"), Duration::from_secs(60));
    assert!(message(deadline("soon")).contains("a number of seconds"));
}
