// Store: objects by key in a pooled cache.

package mooncake

import (
	"context"
	"errors"
	"strings"
	"time"

	"mooncake.dev/go/internal/capi"
)

const (
	storeNoEnvironment = 1
	storeNoLeaseCache  = 2
	storeUpsert        = 4
	storeHardPin       = 8
	storeStrictDomains = 16
	storeNear          = 256
	storeFresh         = 32
	storeProlong       = 64
	storeUnlessLeased  = 128
)

// StoreOptions say how a store is opened. With the zero value all of it is in this process: a master, 64 MiB of memory
// and a client.
type StoreOptions struct {
	// Masters are "host:port" of each master that there may be; none: one of its own.
	Masters []string
	// Tenant says whose objects these are.
	Tenant string
	// PSK is a secret that masters, nodes and clients share, 16 to 256 bytes; none: that in the file named by MC_PSK_FILE.
	PSK []byte
	// Engine moves the bytes and must outlive the store; nil: one of its own.
	Engine *Engine
	// Deadline is that of calls whose context has none; 0: ten seconds.
	Deadline time.Duration
	// LeaseCache is how many objects' leases are remembered; 0: 65,536.
	LeaseCache   uint64
	NoLeaseCache bool
	// NoEnvironment ignores MC_* variables in making engines.
	NoEnvironment bool
	// MemoryBytes are given by this process, under NodeName, in the failure domain Domain, reached at NodeListen.
	MemoryBytes uint64
	NodeName    string
	Domain      string
	NodeListen  string
	// MasterListen is "host:port" for a master of its own.
	MasterListen string
}

// Store is a way into a pooled cache. Keys are bytes, 1 to 1,024 of them. A context's deadline is that of the call;
// where a call uses memory of the caller's, it ends with its deadline and not with a cancellation.
type Store struct{ raw capi.Store }

// OpenStore finds a store's master, or starts one, and gives memory if told to. Nil options are all defaults.
func OpenStore(options *StoreOptions) (*Store, error) {
	if options == nil {
		options = &StoreOptions{}
	}
	deadline, err := optionMilliseconds(options.Deadline, "Deadline")
	if err != nil {
		return nil, err
	}
	from := capi.StoreOptions{
		Flags:   flag(options.NoEnvironment, storeNoEnvironment) | flag(options.NoLeaseCache, storeNoLeaseCache),
		Masters: strings.Join(options.Masters, ","), Tenant: options.Tenant, PSK: options.PSK, DeadlineMs: deadline,
		LeaseCache: options.LeaseCache, MemoryBytes: options.MemoryBytes, NodeName: options.NodeName,
		Domain: options.Domain, MasterListen: options.MasterListen, NodeListen: options.NodeListen,
	}
	if options.Engine != nil {
		from.Engine = options.Engine.raw
	}
	raw, failure := capi.StoreOpen(from)
	if failure != nil {
		return nil, asError(failure)
	}
	return &Store{raw}, nil
}

// Close ends the store. What this process gave to it is gone.
func (s *Store) Close() error { return asError(s.raw.Close()) }

// StoreInfo says what a store is at the moment.
type StoreInfo struct {
	Tenant string
	// MasterAddress is that of a master of its own, NodeAddress that of the memory of this process.
	MasterAddress string
	NodeAddress   string
	MemoryBytes   uint64
	HeldBytes     uint64
	// Children are objects in sessions.
	Children uint64
}

// Info tells what the store is. It asks nobody.
func (s *Store) Info() (StoreInfo, error) {
	raw, failure := s.raw.Info()
	return StoreInfo{
		raw.Tenant, raw.MasterAddress, raw.NodeAddress, raw.MemoryBytes, raw.HeldBytes, raw.ChildCount,
	}, asError(failure)
}

// StoreResult is what became of one key.
type StoreResult struct {
	// Status is OK or why it was not done.
	Status Code
	// RetryAfter is when it is worth trying again; 0: not known.
	RetryAfter time.Duration
	Size       uint64
	// Version is higher for a later content of the key.
	Version uint64
	// Replicas are counted where keys are asked for.
	Replicas int
}

// Err is nil for OK and the status otherwise.
func (r *StoreResult) Err() error { return r.Status.asError() }

func resultOf(raw capi.StoreResult) StoreResult {
	return StoreResult{
		Status: Code(raw.Status), RetryAfter: time.Duration(raw.RetryAfterMs) * time.Millisecond,
		Size: raw.Size, Version: raw.Version, Replicas: int(raw.Replicas),
	}
}

// resultsOf hands results back; a failure that one of them tells is none of the call.
func resultsOf(raw []capi.StoreResult, failure *capi.Failure) ([]StoreResult, error) {
	results := make([]StoreResult, len(raw))
	isTold := false
	for i := range raw {
		results[i] = resultOf(raw[i])
		isTold = isTold || isCode(failure, results[i].Status)
	}
	if failure != nil && !isTold {
		return nil, asError(failure)
	}
	return results, nil
}

// PutOptions say how objects are put and kept; nil is all defaults.
type PutOptions struct {
	// Replicas are copies on different nodes; 0: one.
	Replicas int
	// Upsert replaces what is there.
	Upsert bool
	// HardPin keeps the object from being evicted, SoftPin for so long as anything else can be.
	HardPin bool
	SoftPin time.Duration
	// StrictDomains refuses two replicas in one failure domain.
	StrictDomains bool
	// Near places the first replica in the failure domain of this process, such as its host, if there is room.
	Near bool
	// Group is evicted together.
	Group string
	// Preferred are names of segments that are taken first.
	Preferred []string
	// StripeSize cuts larger objects into stripes on several segments; 0: never.
	StripeSize uint64
}

func (o *PutOptions) raw(ctx context.Context) (*capi.PutOptions, error) {
	timeoutMs, err := budget(ctx)
	if o == nil || err != nil {
		return &capi.PutOptions{TimeoutMs: timeoutMs}, err
	}
	softPin, err := optionMilliseconds(o.SoftPin, "SoftPin")
	if o.Replicas < 0 {
		err = &Error{ErrInvalidArgument, "Replicas is negative"}
	}
	return &capi.PutOptions{
		Replicas: uint32(o.Replicas), SoftPinMs: softPin, StripeSize: o.StripeSize, TimeoutMs: timeoutMs,
		Flags: flag(o.Upsert, storeUpsert) | flag(o.HardPin, storeHardPin) | flag(o.StrictDomains, storeStrictDomains) |
			flag(o.Near, storeNear),
		Group: o.Group, Preferred: o.Preferred,
	}, err
}

// GetOptions say how objects are got; nil is all defaults.
type GetOptions struct {
	// Fresh asks the master although a lease is held.
	Fresh bool
}

func (o *GetOptions) raw(ctx context.Context) (*capi.GetOptions, error) {
	timeoutMs, err := budget(ctx)
	return &capi.GetOptions{Flags: flag(o != nil && o.Fresh, storeFresh), TimeoutMs: timeoutMs}, err
}

// budget is what the context leaves for a call, in milliseconds; 0: it has no deadline.
func budget(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		return uint64(milliseconds(time.Until(deadline))), nil
	}
	return 0, nil
}

// timeout is the same for calls that take it as such.
func timeout(ctx context.Context) (int64, error) {
	left, err := budget(ctx)
	if left == 0 {
		return noTimeout, err
	}
	return int64(left), err
}

// Put puts a copy of an object, and returns when all its replicas are there.
func (s *Store) Put(ctx context.Context, key string, value []byte, options *PutOptions) (StoreResult, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return StoreResult{}, err
	}
	result, failure := s.raw.Put(key, value, raw)
	return resultOf(result), asError(failure)
}

// StorePut is one object to put; its pieces follow one another in it.
type StorePut struct {
	Key    string
	Pieces [][]byte
}

// PutBatch puts many objects with one question to the master; one result for each.
func (s *Store) PutBatch(ctx context.Context, puts []StorePut, options *PutOptions) ([]StoreResult, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, err
	}
	return resultsOf(s.raw.PutBatch(objectsToPut(puts), raw))
}

func objectsToPut(puts []StorePut) *capi.Objects {
	var objects capi.Objects
	for _, put := range puts {
		objects.Add(put.Key, 0)
		for _, piece := range put.Pieces {
			objects.Piece(piece)
		}
	}
	return &objects
}

// How often an object may grow between asking for its size and getting it.
const growths = 4

// Get gets a whole object. ErrNotFound: it is not there.
func (s *Store) Get(ctx context.Context, key string, options *GetOptions) ([]byte, error) {
	for try := 0; ; try++ {
		size, err := s.Size(ctx, key)
		if err != nil {
			return nil, err
		}
		value := make([]byte, size)
		got, err := s.GetInto(ctx, key, value, options)
		if err == nil {
			return value[:got], nil
		}
		if try == growths || !errors.Is(err, ErrBufferTooSmall) {
			return nil, err
		}
		// What is remembered of it is as old as its size.
		options = &GetOptions{Fresh: true}
	}
}

// GetInto gets a whole object into memory that has room for it; how many bytes it has.
func (s *Store) GetInto(ctx context.Context, key string, into []byte, options *GetOptions) (int, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return 0, err
	}
	result, failure := s.raw.Get(key, into, raw)
	return int(result.Size), asError(failure)
}

// GetRange gets the part of an object that begins at an offset and fills the memory.
func (s *Store) GetRange(ctx context.Context, key string, offset uint64, into []byte, options *GetOptions) error {
	raw, err := options.raw(ctx)
	if err != nil {
		return err
	}
	_, failure := s.raw.GetRange(key, offset, into, raw)
	return asError(failure)
}

// StoreRange is a part of an object, and where it goes.
type StoreRange struct {
	Offset uint64
	Into   []byte
}

// StoreGet is one object to get: all of it into pieces of memory, or parts of it.
type StoreGet struct {
	Key    string
	Pieces [][]byte
	Ranges []StoreRange
}

// GetBatch gets many objects, or many parts, with one question to the master; one result for each object.
func (s *Store) GetBatch(ctx context.Context, gets []StoreGet, options *GetOptions) ([]StoreResult, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, err
	}
	return resultsOf(s.raw.GetBatch(objectsToGet(gets), raw))
}

func objectsToGet(gets []StoreGet) *capi.Objects {
	var objects capi.Objects
	for _, get := range gets {
		objects.Add(get.Key, 0)
		for _, part := range get.Ranges {
			objects.Range(part.Offset, part.Into)
		}
		if len(get.Ranges) == 0 {
			for _, piece := range get.Pieces {
				objects.Piece(piece)
			}
		}
	}
	return &objects
}

// Exists tells whether an object is there.
func (s *Store) Exists(ctx context.Context, key string) (bool, error) {
	return ask(ctx, func(timeoutMs int64) (bool, *capi.Failure) { return s.raw.Exists(key, 0, timeoutMs) }, nil)
}

func keysOf(keys []string) *capi.Objects {
	var objects capi.Objects
	for _, key := range keys {
		objects.Add(key, 0)
	}
	return &objects
}

// ExistsBatch tells sizes and replicas of many objects; ErrNotFound is a result. With prolong they get leases.
func (s *Store) ExistsBatch(ctx context.Context, keys []string, prolong bool) ([]StoreResult, error) {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return nil, err
	}
	return resultsOf(s.raw.ExistsBatch(keysOf(keys), flag(prolong, storeProlong), timeoutMs))
}

// Size tells how large an object is.
func (s *Store) Size(ctx context.Context, key string) (uint64, error) {
	return ask(ctx, func(timeoutMs int64) (uint64, *capi.Failure) { return s.raw.Size(key, timeoutMs) }, nil)
}

// Remove removes an object: without an error it is gone everywhere. With unlessLeased what somebody reads is ErrBusy.
func (s *Store) Remove(ctx context.Context, key string, unlessLeased bool) error {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return err
	}
	return asError(s.raw.Remove(key, flag(unlessLeased, storeUnlessLeased), timeoutMs))
}

// RemoveBatch removes many objects; one result for each.
func (s *Store) RemoveBatch(ctx context.Context, keys []string, unlessLeased bool) ([]StoreResult, error) {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return nil, err
	}
	return resultsOf(s.raw.RemoveBatch(keysOf(keys), flag(unlessLeased, storeUnlessLeased), timeoutMs))
}

// RemoveMatching removes what begins with a prefix and in which a regular expression is found, "" being any; how many
// went, and how many stayed because they are busy.
func (s *Store) RemoveMatching(ctx context.Context, prefix, regex string, unlessLeased bool) (removed, busy uint64, err error) {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return 0, 0, err
	}
	removed, busy, failure := s.raw.RemoveMatching(prefix, regex, flag(unlessLeased, storeUnlessLeased), timeoutMs)
	return removed, busy, asError(failure)
}

// StoreObject is an object of a list.
type StoreObject struct {
	Key      string
	Size     uint64
	Version  uint64
	Replicas int
}

const pageSize = 64

// List calls visit for each object that begins with a prefix and in which a regular expression is found, until that
// returns false.
func (s *Store) List(ctx context.Context, prefix, regex string, visit func(StoreObject) bool) error {
	cursor := uint64(0)
	for {
		timeoutMs, err := timeout(ctx)
		if err != nil {
			return err
		}
		objects, next, failure := s.raw.List(prefix, regex, cursor, pageSize, timeoutMs)
		if failure != nil {
			return asError(failure)
		}
		for _, one := range objects {
			if !visit(StoreObject{one.Key, one.Size, one.Version, int(one.Replicas)}) {
				return nil
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
