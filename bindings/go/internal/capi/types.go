// The structs of mooncake.h as they cross: without pointers, sizes and padding.

package capi

// Failure is a call that failed: its status, and what the library says about it.
type Failure struct {
	Code int32
	Text string
}

// EngineOptions mirrors mc_engine_options_t.
type EngineOptions struct {
	Flags                                                                       uint64
	Name, BindAddress, NetworkInterface, CIDR, Transports, Metadata, ConfigFile string
	PSK                                                                         []byte
	Port, PortLast                                                              uint16
	Lanes, WorkerThreads, Checksum, Compat                                      uint32
	AdvertiseHost, MetadataCluster                                              string
	DefaultDeadlineMs, KeepaliveMs, QueueLimit                                  uint64
}

// EngineInfo mirrors mc_engine_info_t.
type EngineInfo struct {
	Name, Address, EngineID, Transports                                 string
	Port, Lanes, WorkerThreads                                          uint32
	LocalSegment                                                        uint64
	RegionCount, RegisteredBytes, SegmentCount, BatchCount, NotifyCount uint64
}

// PathStats mirrors mc_path_stats_t.
type PathStats struct{ ReadBytes, WrittenBytes, ServedReadBytes, ServedWrittenBytes uint64 }

// EngineStats mirrors mc_engine_stats_t without its size.
type EngineStats struct {
	Local, Memfd, CMA, TCP                         PathStats
	Batches, Completed, Failed, Retries, Corrupted uint64
	Accepted, Refused, Wakeups, Notifications      uint64
}

// MemoryInfo mirrors mc_memory_info_t.
type MemoryInfo struct {
	Address        uintptr
	Length         uint64
	Flags          uint64
	UseCount       uint64
	ReferenceCount uint32
	IsAllocated    bool
	Location       string
}

// SegmentInfo mirrors mc_segment_info_t.
type SegmentInfo struct {
	Name, Address, EngineID, Path string
	RegionCount                   uint32
	TotalBytes                    uint64
	IsImported                    bool
}

// RemoteRegion mirrors mc_remote_region_t.
type RemoteRegion struct {
	Address, Length, Flags uint64
	Path, Location         string
}

// Probe mirrors mc_probe_t.
type Probe struct {
	IsAlive, HasRestarted bool
	Lanes                 uint32
	SinceMs, RoundTripNs  uint64
	Path, EngineID        string
}

// Request mirrors go_request_t: pointers are numbers, pieces an index into a second list.
type Request struct {
	Opcode, PieceCount           uint32
	Segment, Remote              uint64
	Local                        uintptr
	Length, FirstPiece, UserData uint64
}

// Piece mirrors go_piece_t.
type Piece struct{ Address, Length uintptr }

// BatchOptions mirrors mc_batch_options_t; without Notify no notification is sent.
type BatchOptions struct {
	Priority          uint32
	Flags, DeadlineMs uint64
	Queue, UserData   uint64
	Notify            bool
	NotifyTag         string
	NotifyData        []byte
	NotifySegment     uint64
}

// BatchInfo mirrors mc_batch_info_t.
type BatchInfo struct {
	IsDone                                                    bool
	Status                                                    int32
	RequestCount, CompletedCount, FailedCount, CompletedBytes uint64
}

// Completion is laid out as mc_completion_t is, so that C fills a slice of them.
type Completion struct {
	UserData, Batch, Index, Length uint64
	Status                         int32
	Kind                           uint32
}

// Notification mirrors mc_notify_info_t; Length is that of the whole, also when the buffer was too small.
type Notification struct {
	Tag, Sender, SenderID string
	Length                uint64
}
