// Store: batches in the background, and objects in memory of the library's.

package mooncake

import (
	"context"

	"mooncake.dev/go/internal/capi"
)

// StoreOperation is a batch of puts or gets in the background. The memory of its objects belongs to it until Results.
type StoreOperation struct {
	raw     capi.Background
	results []StoreResult
	isOver  bool
}

// SubmitPut puts objects in the background. One completion of kind [StoreDone] comes into a queue of the store's engine
// when all are done; a context's deadline is that of the operation.
func (s *Store) SubmitPut(ctx context.Context, puts []StorePut, options *PutOptions, queue *Queue, userData uint64) (*StoreOperation, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, err
	}
	return operationOf(s.raw.PutSubmit(objectsToPut(puts), raw, queue.id, userData))
}

// SubmitGet gets objects in the background, as SubmitPut puts them.
func (s *Store) SubmitGet(ctx context.Context, gets []StoreGet, options *GetOptions, queue *Queue, userData uint64) (*StoreOperation, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, err
	}
	return operationOf(s.raw.GetSubmit(objectsToGet(gets), raw, queue.id, userData))
}

func operationOf(raw capi.Background, failure *capi.Failure) (*StoreOperation, error) {
	if failure != nil {
		return nil, asError(failure)
	}
	return &StoreOperation{raw: raw}, nil
}

// Results says what became of each object, given the operation's completion. An error says that it was canceled because
// its store was closed.
func (o *StoreOperation) Results(done *Completion) ([]StoreResult, error) {
	if done == nil || done.Kind != StoreDone || done.UserData != o.raw.UserData {
		return nil, &Error{ErrInvalidArgument, "this is not the completion of the operation: its memory is in use"}
	}
	if !o.isOver {
		o.isOver = true
		for _, raw := range o.raw.End() {
			o.results = append(o.results, resultOf(raw))
		}
	}
	if done.Status == ErrCanceled {
		return nil, done.Err()
	}
	return o.results, nil
}

// StoreView is an object in memory of the library's, which the caller may write, too.
type StoreView struct {
	store *Store
	raw   capi.StoreView
}

// Bytes of the object, until Release.
func (v *StoreView) Bytes() []byte { return v.raw.Memory }

// Release gives the memory back.
func (v *StoreView) Release() error {
	v.raw.Memory = nil
	return asError(v.store.raw.BufferRelease(v.raw.Buffer))
}

// GetView gets a whole object into memory of the library's: one call, and no copy.
func (s *Store) GetView(ctx context.Context, key string, options *GetOptions) (*StoreView, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, err
	}
	view, _, failure := s.raw.GetView(key, raw)
	if failure != nil {
		return nil, asError(failure)
	}
	return &StoreView{s, view}, nil
}

// GetViews gets many; in their order, nil where the result says why not.
func (s *Store) GetViews(ctx context.Context, keys []string, options *GetOptions) ([]*StoreView, []StoreResult, error) {
	raw, err := options.raw(ctx)
	if err != nil {
		return nil, nil, err
	}
	rawViews, rawResults, failure := s.raw.GetViewBatch(keysOf(keys), raw)
	results, err := resultsOf(rawResults, failure)
	if err != nil {
		return nil, nil, err
	}
	views := make([]*StoreView, len(rawViews))
	for i, view := range rawViews {
		if view.Buffer != 0 {
			views[i] = &StoreView{s, view}
		}
	}
	return views, results, nil
}
