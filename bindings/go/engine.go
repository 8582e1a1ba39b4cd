// Engine: one end of transfers.

package mooncake

import (
	"context"
	"sync/atomic"
	"time"

	"mooncake.dev/go/internal/capi"
)

// Checksum says whether bytes that cross a network carry a CRC32C per slice.
type Checksum uint32

// ChecksumDefault is on between peers of this library; ChecksumRequired refuses peers that will not.
const (
	ChecksumDefault  Checksum = 0
	ChecksumOff      Checksum = 1
	ChecksumRequired Checksum = 2
)

// Compat says whether engines of Mooncake itself are served and reached.
type Compat uint32

// CompatOff, the default, speaks to peers of this library only; CompatOn also to Mooncake's, unless there is a key;
// CompatAllow even then.
const (
	CompatDefault Compat = 0
	CompatOff     Compat = 1
	CompatOn      Compat = 2
	CompatAllow   Compat = 3
)

// Options say how to make an engine. The zero value of each field means default.
type Options struct {
	// Name is shown to peers, and is how they find this engine in a metadata backend.
	Name string
	// BindAddress, NetworkInterface or CIDR choose the address to listen on; without them it is every one.
	BindAddress      string
	NetworkInterface string
	CIDR             string
	// Port to listen on, 0 for one that the kernel gives; PortLast is the last to try when it is taken.
	Port     uint16
	PortLast uint16
	// Lanes are the connections for data to each peer.
	Lanes         uint32
	WorkerThreads uint32
	Checksum      Checksum
	// Transports are the paths that bytes may take, separated by commas, of "local", "memfd", "cma", "tcp".
	Transports string
	// DefaultDeadline is that of batches and calls that name none.
	DefaultDeadline time.Duration
	// Keepalive is how long a peer that owes an answer may be silent.
	Keepalive time.Duration
	// PSK is a secret that every peer must share, 16 to 256 bytes.
	PSK []byte
	// Metadata is where names are looked up: "memory://NAME" or "file:///DIRECTORY".
	Metadata string
	// ConfigFile is weaker than the environment, which is weaker than these options.
	ConfigFile string
	// QueueLimit bounds the requests under way at once.
	QueueLimit uint64
	// Compat says whether engines of Mooncake itself are served and reached.
	Compat Compat
	// AdvertiseHost is told to peers instead of the addresses listened on.
	AdvertiseHost string
	// MetadataCluster stands in the keys under which Mooncake's engines publish themselves.
	MetadataCluster string
	// NoMetrics, NoEnvironment and NoListen switch off counters, MC_* variables and the port.
	NoMetrics     bool
	NoEnvironment bool
	NoListen      bool
}

// Engine is one end of transfers: its memory, its connections, its threads.
type Engine struct {
	raw    capi.Engine
	closed atomic.Bool
}

// New makes an engine: it binds its port and starts its threads, and contacts nobody. Nil options are all defaults.
func New(options *Options) (*Engine, error) {
	if options == nil {
		options = &Options{}
	}
	deadline, err := optionMilliseconds(options.DefaultDeadline, "DefaultDeadline")
	if err != nil {
		return nil, err
	}
	keepalive, err := optionMilliseconds(options.Keepalive, "Keepalive")
	if err != nil {
		return nil, err
	}
	raw, failure := capi.EngineCreate(capi.EngineOptions{
		Flags: flag(options.NoMetrics, 1) | flag(options.NoEnvironment, 2) | flag(options.NoListen, 4),
		Name:  options.Name, BindAddress: options.BindAddress, NetworkInterface: options.NetworkInterface,
		CIDR: options.CIDR, Transports: options.Transports, Metadata: options.Metadata, ConfigFile: options.ConfigFile,
		PSK: options.PSK, Port: options.Port, PortLast: options.PortLast, Lanes: options.Lanes,
		WorkerThreads: options.WorkerThreads, Checksum: uint32(options.Checksum),
		DefaultDeadlineMs: deadline, KeepaliveMs: keepalive, QueueLimit: options.QueueLimit,
		Compat: uint32(options.Compat), AdvertiseHost: options.AdvertiseHost, MetadataCluster: options.MetadataCluster,
	})
	if failure != nil {
		return nil, asError(failure)
	}
	return &Engine{raw: raw}, nil
}

func flag(set bool, bit uint64) uint64 {
	if set {
		return bit
	}
	return 0
}

// Close fails what is under way and ends everything that the engine has. On return no memory will be touched again,
// and memory of [Engine.Allocate] is gone.
func (e *Engine) Close() error {
	e.closed.Store(true)
	return asError(e.raw.Destroy())
}

// Drain waits until no batch is under way: the polite step before Close.
func (e *Engine) Drain(ctx context.Context) error {
	return inGlances(ctx, func(timeoutMs int64) (bool, *capi.Failure) {
		failure := e.raw.Drain(timeoutMs)
		if isCode(failure, ErrBusy) {
			return false, nil
		}
		return true, failure
	})
}

// EngineInfo says what an engine is at the moment.
type EngineInfo struct {
	Name string
	// Address is what peers on the network can open; "" when not listening.
	Address string
	// EngineID is made anew for each engine.
	EngineID string
	// Transports are the usable paths, separated by commas.
	Transports      string
	Port            uint16
	Lanes           int
	WorkerThreads   int
	Regions         uint64
	RegisteredBytes uint64
	Segments        uint64
	Batches         uint64
	Notifications   uint64
}

// Info tells what the engine is: names, addresses, counts.
func (e *Engine) Info() (EngineInfo, error) {
	raw, failure := e.raw.Info()
	return EngineInfo{
		Name: raw.Name, Address: raw.Address, EngineID: raw.EngineID, Transports: raw.Transports,
		Port: uint16(raw.Port), Lanes: int(raw.Lanes), WorkerThreads: int(raw.WorkerThreads),
		Regions: raw.RegionCount, RegisteredBytes: raw.RegisteredBytes, Segments: raw.SegmentCount,
		Batches: raw.BatchCount, Notifications: raw.NotifyCount,
	}, asError(failure)
}

// PathStats are the bytes that one path carried; what peers did is served.
type PathStats struct {
	ReadBytes          uint64
	WrittenBytes       uint64
	ServedReadBytes    uint64
	ServedWrittenBytes uint64
}

// Stats are counters since the engine was made.
type Stats struct {
	Local, Memfd, CMA, TCP PathStats
	Batches                uint64
	Completed              uint64
	Failed                 uint64
	Retries                uint64
	Corrupted              uint64
	Accepted               uint64
	Refused                uint64
	Wakeups                uint64
	Notifications          uint64
}

// Stats reads the engine's counters.
func (e *Engine) Stats() (Stats, error) {
	raw, failure := e.raw.Stats()
	return Stats{
		Local: PathStats(raw.Local), Memfd: PathStats(raw.Memfd), CMA: PathStats(raw.CMA), TCP: PathStats(raw.TCP),
		Batches: raw.Batches, Completed: raw.Completed, Failed: raw.Failed, Retries: raw.Retries,
		Corrupted: raw.Corrupted, Accepted: raw.Accepted, Refused: raw.Refused, Wakeups: raw.Wakeups,
		Notifications: raw.Notifications,
	}, asError(failure)
}

// Config returns the effective configuration as JSON, with the source of each value.
func (e *Engine) Config() (string, error) {
	text, failure := e.raw.Config()
	return string(text), asError(failure)
}

// Metrics returns the counters in Prometheus' text format.
func (e *Engine) Metrics() (string, error) {
	text, failure := e.raw.Metrics()
	return string(text), asError(failure)
}

// Version returns the version of the loaded library.
func Version() string { return capi.Version() }

// HostReport returns what works on this host, what does not, why, and what to do, as JSON.
func HostReport() (string, error) {
	text, failure := capi.HostReport()
	return string(text), asError(failure)
}
