// Master and Node: the parts of a store that keep the index and give memory, in this process.

package mooncake

import (
	"context"
	"strings"
	"time"

	"mooncake.dev/go/internal/capi"
)

// MasterOptions say how to run a master; the zero value of each field means default.
type MasterOptions struct {
	// Listen is "host:port"; "": a port of 127.0.0.1 that the kernel gives.
	Listen        string
	PSK           []byte
	WorkerThreads int
	// Eviction is "lru", "lfu", "fifo", "s3fifo", "sieve" or "default".
	Eviction string
	// DefaultQuotaBytes is what a tenant may have unless it is told otherwise; 0: no limit.
	DefaultQuotaBytes uint64
	// Found says that there was no cluster before, so that nobody has to be waited for.
	Found bool
	// NoEnvironment ignores MC_* variables.
	NoEnvironment bool
}

// Master knows which object of a store lies where.
type Master struct{ raw capi.Master }

// NewMaster starts a master.
func NewMaster(options *MasterOptions) (*Master, error) {
	if options == nil {
		options = &MasterOptions{}
	}
	raw, failure := capi.MasterCreate(capi.MasterOptions{
		Flags: flag(options.Found, 1) | flag(options.NoEnvironment, 2), Listen: options.Listen, Eviction: options.Eviction, PSK: options.PSK,
		WorkerThreads: uint32(max(options.WorkerThreads, 0)), DefaultQuotaBytes: options.DefaultQuotaBytes,
	})
	if failure != nil {
		return nil, asError(failure)
	}
	return &Master{raw}, nil
}

// Close stops the master. What it knows ends with it, and the nodes tell the next one.
func (m *Master) Close() error { return asError(m.raw.Destroy()) }

// MasterInfo says what a master is at the moment.
type MasterInfo struct {
	Address                           string
	Serving                           bool
	Objects, UsedBytes, CapacityBytes uint64
	Evicted, EvictedBytes             uint64
}

// Info tells what the master is.
func (m *Master) Info() (MasterInfo, error) {
	raw, failure := m.raw.Info()
	return MasterInfo{
		raw.Address, raw.IsServing, raw.Objects, raw.UsedBytes, raw.CapacityBytes, raw.Evicted, raw.EvictedBytes,
	}, asError(failure)
}

// NodeOptions say how to run a node; the zero value of most fields means default.
type NodeOptions struct {
	// Masters are "host:port" of each master that there may be; at least one.
	Masters []string
	// MemoryBytes are given to the store; more than none.
	MemoryBytes uint64
	// Listen is "host:port"; "": a port that the kernel gives.
	Listen string
	PSK    []byte
	// Name is what the memory is called, Domain what fails together with it.
	Name   string
	Domain string
	// NoEnvironment ignores MC_* variables in making the node's engine.
	NoEnvironment bool
}

// Node is memory that this process gives to a store.
type Node struct{ raw capi.Node }

// NewNode starts a node.
func NewNode(options *NodeOptions) (*Node, error) {
	if options == nil {
		options = &NodeOptions{}
	}
	raw, failure := capi.NodeCreate(capi.NodeOptions{
		Flags: flag(options.NoEnvironment, 1), Masters: strings.Join(options.Masters, ","), Listen: options.Listen,
		Name: options.Name, Domain: options.Domain, PSK: options.PSK, MemoryBytes: options.MemoryBytes,
	})
	if failure != nil {
		return nil, asError(failure)
	}
	return &Node{raw}, nil
}

// Drain has the master move everything to other nodes, and stops the node. ErrTimeout: the context's time was over, and
// something was left behind.
func (n *Node) Drain(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	graceMs := int64(noTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		graceMs = milliseconds(time.Until(deadline))
	}
	return asError(n.raw.Drain(graceMs))
}

// Close stops the node and gives its memory up. What only it had is lost.
func (n *Node) Close() error { return asError(n.raw.Destroy()) }

// NodeInfo says what a node is at the moment.
type NodeInfo struct {
	Address string
	// ID is one start of the node: a later one has a higher number.
	ID uint64
	// Led by a master.
	Led                                                   bool
	Clients                                               int
	CapacityBytes, HeldBytes, QuarantinedBytes, FreeBytes uint64
}

// Info tells what the node is.
func (n *Node) Info() (NodeInfo, error) {
	raw, failure := n.raw.Info()
	return NodeInfo{
		raw.Address, raw.ID, raw.IsLed, int(raw.Clients), raw.CapacityBytes, raw.HeldBytes, raw.QuarantinedBytes,
		raw.FreeBytes,
	}, asError(failure)
}
