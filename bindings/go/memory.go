// Memory: what an engine reads, writes and offers to its peers.

package mooncake

import (
	"sync/atomic"
	"unsafe"

	"mooncake.dev/go/internal/capi"
)

// Access says what peers may do with a region.
type Access uint64

// ReadWrite, the zero value, lets peers do both; LocalOnly neither.
const (
	ReadWrite Access = 0
	ReadOnly  Access = 1
	WriteOnly Access = 2
	LocalOnly Access = 4
)

const (
	flagHugePages = 8
	flagNoWait    = 16
)

// MemoryOptions say how to register or allocate memory.
type MemoryOptions struct {
	Access Access
	// HugePages insists on them; allocation only.
	HugePages bool
	// Location is where the memory is, such as "cpu:0".
	Location string
}

func (o *MemoryOptions) flags() (uint64, string) {
	if o == nil {
		return 0, ""
	}
	return uint64(o.Access) | flag(o.HugePages, flagHugePages), o.Location
}

// RegionInfo says what a registration is.
type RegionInfo struct {
	Address uintptr
	Length  uint64
	// PeersMayRead, PeersMayWrite and HugePages are as they hold.
	PeersMayRead  bool
	PeersMayWrite bool
	HugePages     bool
	// Uses are transfers of this engine under way from or to it.
	Uses uint64
	// References are the times that it was registered.
	References int
	Allocated  bool
	Location   string
}

// Region is registered memory.
type Region struct {
	engine *Engine
	id     uint64
	end    func(e capi.Engine, region, flags uint64) *capi.Failure
	closed atomic.Bool
}

// RegisterPointer registers memory that does not belong to Go's collector: of C, of mmap, of a device, or pinned with
// runtime.Pinner. It must stay where it is until the region is closed.
func (e *Engine) RegisterPointer(address unsafe.Pointer, length int, options *MemoryOptions) (*Region, error) {
	if length < 0 {
		return nil, &Error{ErrInvalidArgument, "length is negative"}
	}
	flags, location := options.flags()
	id, failure := e.raw.Register(address, length, flags, location)
	if failure != nil {
		return nil, asError(failure)
	}
	return &Region{engine: e, id: id, end: capi.Engine.Unregister}, nil
}

// Info tells what the region is.
func (r *Region) Info() (RegionInfo, error) {
	raw, failure := r.engine.raw.MemoryInfo(r.id)
	return RegionInfo{
		Address: raw.Address, Length: raw.Length, Uses: raw.UseCount, References: int(raw.ReferenceCount),
		PeersMayRead: raw.Flags&uint64(ReadOnly) != 0, PeersMayWrite: raw.Flags&uint64(WriteOnly) != 0,
		HugePages: raw.Flags&flagHugePages != 0, Allocated: raw.IsAllocated, Location: raw.Location,
	}, asError(failure)
}

// Close ends the registration after the transfers that use it have ended.
func (r *Region) Close() error { return r.finish(0) }

// TryClose ends the registration, or fails with [ErrBusy] when transfers use it.
func (r *Region) TryClose() error { return r.finish(flagNoWait) }

func (r *Region) finish(flags uint64) error {
	failure := r.end(r.engine.raw, r.id, flags)
	if failure == nil {
		r.closed.Store(true)
	}
	return asError(failure)
}

// Allocation is memory of the library, registered: what peers on this host reach fastest.
type Allocation struct {
	Region
	bytes []byte
}

// Allocate makes zeroed memory outside of Go's heap.
func (e *Engine) Allocate(length int, options *MemoryOptions) (*Allocation, error) {
	if length < 0 {
		return nil, &Error{ErrInvalidArgument, "length is negative"}
	}
	flags, location := options.flags()
	address, id, failure := e.raw.Allocate(length, flags, location)
	if failure != nil {
		return nil, asError(failure)
	}
	return &Allocation{
		Region: Region{engine: e, id: id, end: capi.Engine.Free},
		bytes:  unsafe.Slice((*byte)(address), length),
	}, nil
}

// Bytes returns the memory; nil once it or its engine is closed. Slices taken before that must not be used after it:
// the memory behind them is gone.
func (a *Allocation) Bytes() []byte {
	if a.closed.Load() || a.engine.closed.Load() {
		return nil
	}
	return a.bytes
}

// Address returns the address of the first byte, as peers name it in [Request.Remote].
func (a *Allocation) Address() uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(a.bytes))))
}

// Export returns a blob with which a peer can reach this engine without a name service, for [Engine.Import]: all
// regions, or the given ones and no others.
func (e *Engine) Export(regions ...*Region) ([]byte, error) {
	ids := make([]uint64, len(regions))
	for i, region := range regions {
		ids[i] = region.id
	}
	blob, failure := e.raw.Export(ids)
	return blob, asError(failure)
}
