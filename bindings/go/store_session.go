// Sessions: objects that are written or read piece by piece, such as layer by layer.

package mooncake

import (
	"context"

	"mooncake.dev/go/internal/capi"
)

// StoreSize is an object that is to be written: its key, and how large it will be.
type StoreSize struct {
	Key  string
	Size uint64
}

// StoreWriting is an object that is being written. Nobody sees it before Commit.
type StoreWriting struct {
	store *Store
	id    uint64
}

// BeginPut asks for the memory of objects, all at once; in their order, nil where the result says why not.
func (s *Store) BeginPut(ctx context.Context, sizes []StoreSize, options *PutOptions) ([]*StoreWriting, []StoreResult, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, nil, err
	}
	var objects capi.Objects
	for _, one := range sizes {
		objects.Add(one.Key, one.Size)
	}
	ids, rawResults, failure := s.raw.PutBegin(&objects, raw)
	results, err := resultsOf(rawResults, failure)
	if err != nil {
		return nil, nil, err
	}
	writings := make([]*StoreWriting, len(ids))
	for i, id := range ids {
		if id != 0 {
			writings[i] = &StoreWriting{s, id}
		}
	}
	return writings, results, nil
}

// Write writes a piece from an offset on. Pieces come in any order, and may not overlap.
func (w *StoreWriting) Write(ctx context.Context, offset uint64, piece []byte) error {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return err
	}
	return asError(w.store.raw.PutWrite(w.id, offset, piece, timeoutMs))
}

// Commit makes the object visible. ErrInvalidState: bytes are missing, and the writing goes on.
func (w *StoreWriting) Commit(ctx context.Context) (StoreResult, error) {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return StoreResult{}, err
	}
	result, failure := w.store.raw.PutCommit(w.id, timeoutMs)
	return resultOf(result), asError(failure)
}

// Close gives up what was not committed, and its memory. After Commit it does nothing.
func (w *StoreWriting) Close() error {
	failure := w.store.raw.PutRevoke(w.id)
	if isCode(failure, ErrInvalidHandle) {
		return nil
	}
	return asError(failure)
}

// StoreReading is an object that is being read, in the version that it had at the start.
type StoreReading struct {
	store *Store
	id    uint64
}

// BeginGet looks objects up, all at once; in their order, nil where the result says why not.
func (s *Store) BeginGet(ctx context.Context, keys []string, options *GetOptions) ([]*StoreReading, []StoreResult, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids, rawResults, failure := s.raw.GetBegin(keysOf(keys), raw)
	results, err := resultsOf(rawResults, failure)
	if err != nil {
		return nil, nil, err
	}
	readings := make([]*StoreReading, len(ids))
	for i, id := range ids {
		if id != 0 {
			readings[i] = &StoreReading{s, id}
		}
	}
	return readings, results, nil
}

// Read fills the memory from an offset on. ErrLeaseExpired: the object was replaced, removed or moved; begin again.
func (r *StoreReading) Read(ctx context.Context, offset uint64, into []byte) error {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return err
	}
	return asError(r.store.raw.GetRead(r.id, offset, into, timeoutMs))
}

// Close ends the reading.
func (r *StoreReading) Close() error { return asError(r.store.raw.GetEnd(r.id)) }
