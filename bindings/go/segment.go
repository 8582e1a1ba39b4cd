// Segment: a peer's memory.

package mooncake

import (
	"context"
	"time"

	"mooncake.dev/go/internal/capi"
)

// Segment is a peer's memory as an engine knows it.
type Segment struct {
	engine *Engine
	id     uint64
}

// Open opens a peer by "host:port", "[IPv6]:port" or its name in the metadata backend, and meets it.
func (e *Engine) Open(ctx context.Context, name string) (*Segment, error) {
	id, err := ask(ctx, func(timeoutMs int64) (uint64, *capi.Failure) {
		return e.raw.Open(name, timeoutMs)
	}, func(id uint64) { e.raw.CloseSegment(id) })
	if err != nil {
		return nil, err
	}
	return &Segment{e, id}, nil
}

// OpenLater opens a peer that its first transfer will meet.
func (e *Engine) OpenLater(name string) (*Segment, error) { return e.segment(e.raw.Open(name, 0)) }

// Import makes a segment of the blob that the peer's [Engine.Export] wrote. Nobody is contacted.
func (e *Engine) Import(blob []byte) (*Segment, error) { return e.segment(e.raw.Import(blob)) }

// Local returns the engine's own memory, for transfers to itself. It cannot be closed.
func (e *Engine) Local() (*Segment, error) {
	info, failure := e.raw.Info()
	return e.segment(info.LocalSegment, failure)
}

func (e *Engine) segment(id uint64, failure *capi.Failure) (*Segment, error) {
	if failure != nil {
		return nil, asError(failure)
	}
	return &Segment{e, id}, nil
}

// Close closes the segment; transfers under way go on.
func (s *Segment) Close() error { return asError(s.engine.raw.CloseSegment(s.id)) }

// SegmentInfo says what an open segment is.
type SegmentInfo struct {
	// Name, Address and EngineID are the peer's.
	Name     string
	Address  string
	EngineID string
	// Path is what transfers of ordinary memory take now: "local", "memfd", "cma" or "tcp".
	Path       string
	Regions    int
	TotalBytes uint64
	Imported   bool
}

// Info tells what the segment is.
func (s *Segment) Info() (SegmentInfo, error) {
	raw, failure := s.engine.raw.SegmentInfo(s.id)
	return SegmentInfo{
		Name: raw.Name, Address: raw.Address, EngineID: raw.EngineID, Path: raw.Path,
		Regions: int(raw.RegionCount), TotalBytes: raw.TotalBytes, Imported: raw.IsImported,
	}, asError(failure)
}

// RemoteRegion is one region that a peer offers.
type RemoteRegion struct {
	// Address of the first byte in the peer's process: what [Request.Remote] counts in.
	Address       uint64
	Length        uint64
	PeersMayRead  bool
	PeersMayWrite bool
	// Path is what transfers to this region take now.
	Path     string
	Location string
}

// Regions lists what the peer offers, in the order in which it registered it.
func (s *Segment) Regions() ([]RemoteRegion, error) {
	raw, failure := s.engine.raw.ListRegions(s.id)
	regions := make([]RemoteRegion, len(raw))
	for i, r := range raw {
		regions[i] = RemoteRegion{
			Address: r.Address, Length: r.Length, Path: r.Path, Location: r.Location,
			PeersMayRead: r.Flags&uint64(ReadOnly) != 0, PeersMayWrite: r.Flags&uint64(WriteOnly) != 0,
		}
	}
	return regions, asError(failure)
}

// Refresh asks the peer for its regions anew. Transfers do that by themselves; this is for [Segment.Regions].
func (s *Segment) Refresh(ctx context.Context) error {
	_, err := ask(ctx, func(timeoutMs int64) (struct{}, *capi.Failure) {
		return struct{}{}, s.engine.raw.Refresh(s.id, timeoutMs)
	}, nil)
	return err
}

// Probe is what asking a peer for a sign of life found.
type Probe struct {
	Alive bool
	// Restarted: the peer is another process than the one that was opened.
	Restarted bool
	// Since the peer was met, or since it last answered when it is not alive.
	Since     time.Duration
	RoundTrip time.Duration
	Lanes     int
	Path      string
	EngineID  string
}

// Probe asks whether the peer is alive. A dead peer is an answer, not an error.
func (s *Segment) Probe(ctx context.Context) (Probe, error) {
	raw, err := ask(ctx, func(timeoutMs int64) (capi.Probe, *capi.Failure) {
		return s.engine.raw.Probe(s.id, timeoutMs)
	}, nil)
	return Probe{
		Alive: raw.IsAlive, Restarted: raw.HasRestarted, Lanes: int(raw.Lanes), Path: raw.Path, EngineID: raw.EngineID,
		Since: time.Duration(raw.SinceMs) * time.Millisecond, RoundTrip: time.Duration(raw.RoundTripNs),
	}, err
}
