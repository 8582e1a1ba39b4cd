// The store's structs of mooncake.h as they cross: without pointers, sizes and padding.

package capi

// StoreOptions mirrors mc_store_options_t.
type StoreOptions struct {
	Flags                                                       uint64
	Masters, Tenant, NodeName, Domain, MasterListen, NodeListen string
	PSK                                                         []byte
	Engine                                                      Engine
	DeadlineMs, LeaseCache, MemoryBytes                         uint64
}

// StoreInfo mirrors mc_store_info_t.
type StoreInfo struct {
	Tenant, MasterAddress, NodeAddress string
	MemoryBytes, HeldBytes, ChildCount uint64
}

// StoreResult mirrors mc_store_result_t.
type StoreResult struct {
	Status        int32
	RetryAfterMs  uint32
	Size, Version uint64
	Replicas      uint32
}

// PutOptions mirrors mc_store_put_options_t.
type PutOptions struct {
	Replicas                                uint32
	Flags, SoftPinMs, StripeSize, TimeoutMs uint64
	Group                                   string
	Preferred                               []string
}

// GetOptions mirrors mc_store_get_options_t.
type GetOptions struct{ Flags, TimeoutMs uint64 }

// StoreObject mirrors mc_store_listed_t.
type StoreObject struct {
	Key           string
	Size, Version uint64
	Replicas      uint32
}

// StoreTask mirrors mc_store_task_info_t.
type StoreTask struct {
	State                    uint32
	Status                   int32
	RetryAfterMs             uint32
	MovedObjects, MovedBytes uint64
}

// StoreUsage mirrors mc_store_usage_t.
type StoreUsage struct{ UsedBytes, QuotaBytes, Objects uint64 }

// StoreSegment mirrors mc_store_segment_t.
type StoreSegment struct {
	Name                 string
	Node, Capacity, Used uint64
	IsOpen, IsDraining   bool
}

// MasterOptions mirrors mc_master_options_t.
type MasterOptions struct {
	Flags             uint64
	Listen, Eviction  string
	PSK               []byte
	WorkerThreads     uint32
	DefaultQuotaBytes uint64
}

// MasterInfo mirrors mc_master_info_t.
type MasterInfo struct {
	Address                           string
	IsServing                         bool
	Objects, UsedBytes, CapacityBytes uint64
	Evicted, EvictedBytes             uint64
}

// NodeOptions mirrors mc_node_options_t.
type NodeOptions struct {
	Flags                         uint64
	Masters, Listen, Name, Domain string
	PSK                           []byte
	MemoryBytes                   uint64
}

// NodeInfo mirrors mc_node_info_t.
type NodeInfo struct {
	Address                                               string
	ID                                                    uint64
	IsLed                                                 bool
	Clients                                               uint32
	CapacityBytes, HeldBytes, QuarantinedBytes, FreeBytes uint64
}
