//! The environment variables of Mooncake's transfer engine, and what becomes of each here.

/// What becomes of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Means here what it means there.
    Honoured,
    /// Sets what comes nearest.
    Mapped,
    /// Has no effect; one log line says so.
    Ignored,
}

impl Treatment {
    pub fn word(self) -> &'static str {
        match self {
            Treatment::Honoured => "honoured",
            Treatment::Mapped => "mapped",
            Treatment::Ignored => "ignored",
        }
    }
}

/// One variable of Mooncake.
#[derive(Debug)]
pub struct MooncakeVariable {
    pub name: &'static str,
    pub treatment: Treatment,
    pub how: &'static str,
}

const fn honoured(name: &'static str, how: &'static str) -> MooncakeVariable {
    MooncakeVariable { name, treatment: Treatment::Honoured, how }
}

const fn mapped(name: &'static str, how: &'static str) -> MooncakeVariable {
    MooncakeVariable { name, treatment: Treatment::Mapped, how }
}

const fn ignored(name: &'static str, how: &'static str) -> MooncakeVariable {
    MooncakeVariable { name, treatment: Treatment::Ignored, how }
}

const RDMA: &str = "RDMA is not in this library yet";
const FRESH: &str = "what a peer offers is asked for anew when it is not known or was taken back";
const VENDOR: &str = "device memory is not in this library yet";

/// In the order in which docs/compat.md shows them.
pub const VARIABLES: &[MooncakeVariable] = &[
    honoured(
        "MC_FORCE_TCP",
        "only TCP, also between processes of one host; TCP carries what other transports are asked for",
    ),
    honoured("MC_LOG_LEVEL", "TRACE, INFO, WARNING and ERROR, and the native levels"),
    honoured("MC_MIN_RPC_PORT", "first port to try; when neither is set the kernel gives one"),
    honoured("MC_MAX_RPC_PORT", "last port to try"),
    honoured("MC_MIN_PRC_PORT", "the same, as older Mooncakes call it"),
    honoured("MC_MAX_PRC_PORT", "the same, as older Mooncakes call it"),
    honoured("MC_LEGACY_RPC_PORT_BINDING", "the port in local_server_name is listened on"),
    honoured("MC_HANDSHAKE_PORT", "that port, where local_server_name has none; 12001"),
    honoured("MC_METADATA_CLUSTER_ID", "part of the keys in a metadata service"),
    honoured("MC_REDIS_USERNAME", "user of a redis:// that names none"),
    honoured("MC_REDIS_PASSWORD", "password of a redis:// that has none"),
    honoured("MC_REDIS_DB_INDEX", "database of a redis:// that names none"),
    honoured("MC_CUSTOM_TOPO_JSON", "file with the priority matrix, for auto_discover"),
    honoured("MC_TE_FILTERS", "cards that auto_discover takes, separated by commas"),
    mapped("MC_TCP_BIND_ADDRESS", "`bind_address`: listened on as well as told to peers"),
    mapped("MC_TCP_LANES_PER_PEER", "`lanes`"),
    mapped("MC_TCP_MAX_CONNECTIONS_PER_PEER", "`lanes`"),
    mapped(
        "MC_SLICE_TIMEOUT",
        "`default_deadline_ms`: a task that is late ends as FAILED, and its memory is not touched again",
    ),
    ignored("MC_USE_IPV6", "both families are listened on"),
    ignored("MC_HANDSHAKE_LISTEN_BACKLOG", "connections are accepted as they come"),
    ignored("MC_HANDSHAKE_CONNECT_TIMEOUT", "an open waits 10 seconds at most"),
    ignored("MC_HANDSHAKE_MAX_LENGTH", "fixed, 1 MiB"),
    ignored("MC_TCP_PROTO", "negotiated with each peer"),
    ignored("MC_TCP_ENABLE_CONNECTION_POOL", "connections are always kept"),
    ignored("MC_TCP_SLICE_SIZE", "chosen for each path"),
    ignored(
        "MC_TCP_STATUS_TIMEOUT_SEC",
        "a peer that owes an answer and is silent for `keepalive_ms` is lost",
    ),
    ignored("MC_TCP_MAX_QUEUED_TRANSFERS_PER_PEER", "see `queue_limit`"),
    ignored("MC_TCP_MAX_PENDING_ADMISSIONS_PER_PEER", "see `queue_limit`"),
    ignored("MC_TCP_ADMISSION_TIMEOUT_MS", "see `queue_limit`"),
    ignored("MC_TRANSFER_TIMEOUT", "of Mooncake's Python binding"),
    ignored("MC_RETRY_CNT", "what can be sent again is, until the deadline"),
    ignored("MC_DISABLE_METACACHE", FRESH),
    ignored("MC_TE_METADATA_REFRESH_INTERVAL_SECONDS", FRESH),
    ignored("MC_TE_METRIC", "see mc_engine_get_metrics()"),
    ignored("MC_TE_METRIC_INTERVAL_SECONDS", "see mc_engine_get_metrics()"),
    ignored("MC_LOG_DIR", "log lines go to standard error, or to mc_log_set_callback()"),
    ignored("MC_YLT_LOG_LEVEL", "no such library here"),
    ignored("MC_RPC_PROTOCOL", "no such library here"),
    ignored("MC_RPC_CLIENT_IO_THREADS", "see `worker_threads`"),
    ignored("MC_TE_RPC_CLIENT_IO_THREADS", "see `worker_threads`"),
    ignored("MC_USE_TENT", "there is one engine"),
    ignored("MC_USE_TEV1", "there is one engine"),
    ignored("MC_TENT_CONF", "there is one engine; see docs/configuration.md"),
    ignored("MC_TENT_RPC_THREADS", "see `worker_threads`"),
    ignored("MC_TE_FILTERS_EXCLUDE", RDMA),
    ignored("MC_SLICE_SIZE", "chosen for each path"),
    ignored("MC_FRAGMENT_RATIO", "chosen for each path"),
    ignored("MC_RDMA_BIND_ADDRESS", RDMA),
    ignored("MC_FORCE_HCA", RDMA),
    ignored("MC_IB_PORT", RDMA),
    ignored("MC_GID_INDEX", RDMA),
    ignored("NCCL_IB_GID_INDEX", RDMA),
    ignored("MC_AUTO_GID_MAX_RETRIES", RDMA),
    ignored("MC_PKEY_INDEX", RDMA),
    ignored("MC_NUM_CQ_PER_CTX", RDMA),
    ignored("MC_NUM_COMP_CHANNELS_PER_CTX", RDMA),
    ignored("MC_MAX_CQE_PER_CTX", RDMA),
    ignored("MC_MAX_EP_PER_CTX", RDMA),
    ignored("MC_ENDPOINT_STORE_TYPE", RDMA),
    ignored("MC_NUM_QP_PER_EP", RDMA),
    ignored("MC_MAX_SGE", RDMA),
    ignored("MC_MAX_WR", RDMA),
    ignored("MC_MAX_INLINE", RDMA),
    ignored("MC_MTU", RDMA),
    ignored("MC_IB_TC", RDMA),
    ignored("MC_IB_SL", RDMA),
    ignored("MC_IB_PCI_RELAXED_ORDERING", RDMA),
    ignored("MC_MLX5_QP_UDP_SPORTS", RDMA),
    ignored("MC_MLX5_QP_LAG_PORT_BALANCE", RDMA),
    ignored("MC_WORKERS_PER_CTX", RDMA),
    ignored("MC_RDMA_RAIL_PAUSE_SECONDS", RDMA),
    ignored("MC_CONN_PAUSE_TTL_MS", RDMA),
    ignored("MC_MIN_REG_SIZE", RDMA),
    ignored("MC_MAX_MR_SIZE", RDMA),
    ignored("MC_ENABLE_PARALLEL_REG_MR", RDMA),
    ignored("MC_MAX_CONCURRENT_REG_MR", RDMA),
    ignored("MC_PATH_ROUNDROBIN", RDMA),
    ignored("MC_ENABLE_DEST_DEVICE_AFFINITY", RDMA),
    ignored("MC_ENABLE_HCA_PEER_AFFINITY", RDMA),
    ignored("MC_NIC_PEER_AFFINITY", RDMA),
    ignored("MC_LOG_RDMA_SLICE_AFFINITY", RDMA),
    ignored("MC_TRACK_RDMA_POSTED_SLICES", RDMA),
    ignored("MC_EFA_NIC_SELECTION", RDMA),
    ignored("MC_EFA_CQ_THREADS", RDMA),
    ignored("MC_DISABLE_GPU_DIRECT_RDMA", RDMA),
    ignored("MC_FORCE_MNNVL", VENDOR),
    ignored("MC_ENABLE_MNNVL", VENDOR),
    ignored("MC_FORCE_MUSA", VENDOR),
    ignored("MC_INTRANODE_NVLINK", VENDOR),
    ignored("MC_INTRA_NVLINK", VENDOR),
    ignored("MC_USE_NVLINK_IPC", VENDOR),
    ignored("MC_USE_HIP_IPC", VENDOR),
    ignored("MC_USE_UBSHMEM_IPC", VENDOR),
    ignored("MC_DISABLE_HIP", VENDOR),
    ignored("MC_DISABLE_MUSA", VENDOR),
    ignored("MC_DISABLE_MACA", VENDOR),
    ignored("MC_HIP_NUM_STREAMS", VENDOR),
    ignored("MC_HIP_NUM_EVENTS", VENDOR),
    ignored("MC_MUSA_COPY_API", VENDOR),
    ignored("MC_MUSA_TRANSFER_BATCH_MIN_BYTES", VENDOR),
    ignored("MC_MUSA_IPC_OPEN_DEVICE", VENDOR),
    ignored("MC_MACA_COPY_API", VENDOR),
    ignored("MC_MACA_CALLER_SYNC", VENDOR),
    ignored("MC_MACA_BATCHFLAG_MIN_BYTES", VENDOR),
    ignored("MC_MACA_HOST_TRANSPORT", VENDOR),
    ignored("MC_UBSHMEM_STREAMS_PER_TRANSFER", VENDOR),
    ignored("MC_UBSHMEM_MAX_STREAMS", VENDOR),
    ignored("MC_UBSHMEM_THREAD_POOL_SIZE", VENDOR),
    ignored("MC_UBSHMEM_GET_STREAM_TIMEOUT", VENDOR),
    ignored("MC_TANGRT_ROOT", VENDOR),
    ignored("MC_TANGRT_LIB_DIR", VENDOR),
    ignored("MC_TANGRT_LIB_ARCH", VENDOR),
    ignored("MC_TPU_PJRT_LIB", VENDOR),
    ignored("WITH_NVIDIA_PEERMEM", VENDOR),
    ignored("MOONCAKE_DISABLE_HIP_DMABUF", VENDOR),
    ignored("MC_CXL_DEV_PATH", VENDOR),
    ignored("MC_CXL_DEV_SIZE", VENDOR),
];

/// Those that the legacy API reads itself: they belong to no setting of an engine.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub force_tcp: bool,
    pub topology_file: Option<String>,
    /// Cards to take; empty: all.
    pub filters: Vec<String>,
    /// Listen on the port that the engine's name has.
    pub is_port_literal: bool,
    /// The port of a name that has none.
    pub handshake_port: u16,
    /// The native variable says how much of Mooncake is spoken.
    pub has_compat: bool,
    /// Set, and without effect.
    pub ignored: Vec<&'static MooncakeVariable>,
}

const HANDSHAKE_PORT: u16 = 12_001;

impl Environment {
    /// What is set now.
    pub fn read() -> Environment {
        Environment::read_from(super::env::text)
    }

    pub(super) fn read_from(get: impl Fn(&str) -> Option<String>) -> Environment {
        let is_true = |name: &str| {
            get(name).is_some_and(|text| {
                !matches!(text.to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off")
            })
        };
        let is_ignored = |variable: &&'static MooncakeVariable| {
            variable.treatment == Treatment::Ignored && get(variable.name).is_some()
        };
        let words = |text: String| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
        Environment {
            force_tcp: is_true("MC_FORCE_TCP"),
            topology_file: get("MC_CUSTOM_TOPO_JSON"),
            filters: get("MC_TE_FILTERS").map(words).unwrap_or_default(),
            is_port_literal: get("MC_LEGACY_RPC_PORT_BINDING").is_some(),
            handshake_port: get("MC_HANDSHAKE_PORT")
                .and_then(|text| text.parse().ok())
                .unwrap_or(HANDSHAKE_PORT),
            has_compat: get("MC_COMPAT").is_some(),
            ignored: VARIABLES.iter().filter(is_ignored).collect(),
        }
    }
}
