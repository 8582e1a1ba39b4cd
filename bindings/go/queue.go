// Queue: completions of batches and arrivals of notifications, for programs with a loop of their own.

package mooncake

import (
	"context"
	"unsafe"

	"mooncake.dev/go/internal/capi"
)

// CompletionKind is what completed.
type CompletionKind uint32

// A request; a batch with CompleteOnce; a notification, to be received with [Engine.TryReceiveTag] or its like; a
// [StoreOperation].
const (
	RequestDone   CompletionKind = 1
	BatchDone     CompletionKind = 2
	NotifyArrived CompletionKind = 3
	StoreDone     CompletionKind = 4
)

// Completion is what became of a request or a batch. It is laid out as in C, so that a queue fills a slice of them.
type Completion struct {
	// UserData is that of the request, the batch, the binding or the operation.
	UserData uint64
	batch    uint64
	// Index of the request in its batch.
	Index uint64
	// Length in bytes that were transferred.
	Length uint64
	// Status is OK or the reason of the failure; its story is in the log.
	Status Code
	Kind   CompletionKind
}

// Err is nil for OK and the status otherwise.
func (c *Completion) Err() error { return c.Status.asError() }

// Of tells whether this is a completion of that batch.
func (c *Completion) Of(batch *Batch) bool { return c.batch == batch.id }

func rawCompletions(completions []Completion) []capi.Completion {
	return unsafe.Slice((*capi.Completion)(unsafe.Pointer(unsafe.SliceData(completions))), len(completions))
}

// The same layout has the same size: one of these arrays has a negative length otherwise.
var (
	_ [unsafe.Sizeof(Completion{}) - unsafe.Sizeof(capi.Completion{})]struct{}
	_ [unsafe.Sizeof(capi.Completion{}) - unsafe.Sizeof(Completion{})]struct{}
)

// Queue takes completions; batches name it in their options.
type Queue struct {
	engine *Engine
	id     uint64
}

// NewQueue makes a queue for so many completions, 0 for the default. Batches that could overflow it are refused.
func (e *Engine) NewQueue(capacity uint32) (*Queue, error) {
	id, failure := e.raw.CreateQueue(capacity)
	if failure != nil {
		return nil, asError(failure)
	}
	return &Queue{e, id}, nil
}

// Close ends the queue and wakes who waits on it.
func (q *Queue) Close() error { return asError(q.engine.raw.DestroyQueue(q.id)) }

// Poll takes completions that are there, as many as fit into the slice, and tells how many. It never blocks.
func (q *Queue) Poll(completions []Completion) (int, error) {
	count, failure := q.engine.raw.PollQueue(q.id, rawCompletions(completions))
	return count, asError(failure)
}

// Wait is Poll that waits for the first completion.
func (q *Queue) Wait(ctx context.Context, completions []Completion) (int, error) {
	var count int
	err := inGlances(ctx, func(timeoutMs int64) (bool, *capi.Failure) {
		var failure *capi.Failure
		count, failure = q.engine.raw.WaitQueue(q.id, timeoutMs, rawCompletions(completions))
		return count > 0, failure
	})
	return count, err
}

// EventFD returns a descriptor that is readable while the queue is not empty, for epoll and its like. It belongs to
// the queue: do not read or close it.
func (q *Queue) EventFD() (int, error) {
	fd, failure := q.engine.raw.QueueEventFD(q.id)
	return fd, asError(failure)
}
