// The conductor's structs of mooncake.h as they cross: without pointers, sizes and padding.

package capi

// ConductorClass mirrors mc_conductor_class_t.
type ConductorClass struct{ TTFT, TBT, LoadLimit float64 }

// ConductorOptions mirrors mc_conductor_options_t.
type ConductorOptions struct {
	Name, Policy, Admission                                     string
	Flags, Seed, BlockLimit, IdleMs, ContextLimit, RequestLimit uint64
	MostInGroup, FitAfter, ExplainCount                         uint32
	Classes                                                     [4]ConductorClass
	BalancingThreshold, Learning                                float64
	DecodeSeconds, HorizonSeconds, LongestDecodeSeconds         float64
	SilenceGrace, SilenceLimit, FailureSeconds                  float64
	CopiedPerSecond, CopiedAtOnce, UsesPerCopy                  float64
	PromiseSeconds                                              float64
	Hooks                                                       ConductorHooks
}

// ConductorInfo mirrors mc_conductor_info_t.
type ConductorInfo struct{ Instances, Contexts, Requests, Blocks, Decided, Rejected uint64 }

// ConductorRestored mirrors mc_conductor_restored_t.
type ConductorRestored struct{ Instances, Contexts, Blocks uint64 }

// ConductorCost mirrors mc_conductor_cost_t.
type ConductorCost struct {
	Layers                                        uint32
	KVBytesPerToken                               float64
	PrefillFixed, PrefillLinear, PrefillQuadratic float64
	DecodeFixed, DecodePerRequest, DecodePerToken float64
	HostRate, DiskRate, LinkRate                  float64
	KVTokens, ChunkTokens                         uint64
}

// ConductorInstance mirrors mc_conductor_instance_options_t.
type ConductorInstance struct {
	Name, Model            string
	Role, BlockSize, Ranks uint32
	Cost                   *ConductorCost
}

// ConductorInstanceInfo mirrors mc_conductor_instance_info_t.
type ConductorInstanceInfo struct {
	Name, Model            string
	Role, BlockSize, Ranks uint32
	AgeMs                  uint64
}

// ConductorReport mirrors mc_conductor_report_t.
type ConductorReport struct {
	Flags                    uint64
	DecodingRequests         uint32
	DecodingTokens           uint64
	QueueSeconds, TBTSeconds float64
}

// ConductorContext mirrors mc_conductor_context_options_t.
type ConductorContext struct {
	Model, Tenant, LoRA, Salt string
	BlockSize, Hash           uint32
	HashSeed                  uint64
	PythonHashSeed            string
	HasPythonHashSeed         bool
}

// ConductorEvent mirrors mc_conductor_event_t.
type ConductorEvent struct {
	Instance           uint64
	Rank, Change, Tier uint32
	Keys               []uint64
}

// ConductorMatch mirrors mc_conductor_match_t.
type ConductorMatch struct {
	Instance uint64
	Rank     uint32
	Blocks   [4]uint32
	Promised uint32
}

// ConductorRequest mirrors mc_conductor_request_t.
type ConductorRequest struct {
	Context                              uint64
	Tokens                               []uint32
	Keys                                 []uint64
	InputTokens                          uint64
	OutputTokens, Priority, ServiceClass uint32
	Name                                 string
}

// ConductorRejection mirrors mc_conductor_rejection_t.
type ConductorRejection struct {
	Reason, RetryAfterMs uint32
	Load, Limit          float64
}

// ConductorDecision mirrors mc_conductor_decision_t.
type ConductorDecision struct {
	Verdict                             uint32
	Request, Prefill, Decode, Source    uint64
	PrefillRank, DecodeRank, SourceRank uint32
	SourceKind                          uint32
	PrefillName, DecodeName             string
	Blocks, Reused, Moved               uint32
	Group                               []uint64
	GroupRanks                          []uint32
	Advised                             bool
	ComputedTokens                      uint64
	Queue, Transfer, Compute, TTFT, TBT float64
	Rejection                           ConductorRejection
}

// ConductorAdvice mirrors mc_conductor_copy_t with its keys.
type ConductorAdvice struct {
	Sender, Receiver, Context uint64
	SenderRank, ReceiverRank  uint32
	From                      uint32
	Keys                      []uint64
}
