// Batch: requests submitted together, and what became of them.

package mooncake

import (
	"context"
	"time"
	"unsafe"

	"mooncake.dev/go/internal/capi"
)

// Op is which way the bytes of a request go.
type Op uint32

// Read goes from the segment into local memory, Write from local memory into the segment.
const (
	Read  Op = 1
	Write Op = 2
)

// Priority says which of two batches goes first when both wait for the same link.
type Priority uint32

// PriorityHigh is for requests whose first token waits, PriorityLow for replication and prefetch.
const (
	PriorityNormal Priority = 0
	PriorityHigh   Priority = 1
	PriorityLow    Priority = 2
)

// Request is one transfer between local memory and a segment.
type Request struct {
	Op      Op
	Segment *Segment
	// Remote is an address in the peer's process.
	Remote uint64
	// Local lies in one registered region.
	Local []byte
	// Pieces, instead of Local, follow each other in the peer's memory; each lies in one registered region.
	Pieces [][]byte
	// UserData comes back in the completion.
	UserData uint64
}

// Notify is a notification that follows the bytes of a batch.
type Notify struct {
	Tag  string
	Data []byte
	// Segment is whom to notify; nil: the segment of the first request.
	Segment *Segment
}

// BatchOptions say how to run a batch; nil is all defaults.
type BatchOptions struct {
	Priority Priority
	// Deadline counts from submit or post; 0: the engine's default.
	Deadline time.Duration
	// Queue takes the completions; with CompleteOnce it is one for the whole batch, with UserData.
	Queue        *Queue
	CompleteOnce bool
	UserData     uint64
	// Notify is sent when all bytes are visible to the peer.
	Notify *Notify
}

// Batch is a set of requests under way.
type Batch struct {
	engine *Engine
	id     uint64
}

// Submit starts a batch and returns at once.
func (e *Engine) Submit(requests []Request, options *BatchOptions) (*Batch, error) {
	id, err := e.submit(requests, options, false)
	if err != nil {
		return nil, err
	}
	return &Batch{e, id}, nil
}

// Transfer runs a batch from start to end. When the context ends first, the batch is canceled.
func (e *Engine) Transfer(ctx context.Context, requests []Request, options *BatchOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	batch, err := e.Submit(requests, options)
	if err != nil {
		return err
	}
	defer batch.Close()
	return batch.Wait(ctx)
}

// PreparedBatch is checked and resolved once and may be posted many times.
type PreparedBatch struct{ Batch }

// Prepare makes a batch for transfers that repeat over the same memory.
// Memory that is closed between two posts fails the next.
func (e *Engine) Prepare(requests []Request, options *BatchOptions) (*PreparedBatch, error) {
	id, err := e.submit(requests, options, true)
	if err != nil {
		return nil, err
	}
	return &PreparedBatch{Batch{e, id}}, nil
}

// Post starts the batch, for the first time or again after it ended.
func (b *PreparedBatch) Post() error { return asError(b.engine.raw.Post(b.id)) }

// Wait returns when the batch is done: nil, or why the first request failed. When the context ends, it cancels the
// batch, waits until no local memory is in use, and returns the context's error unless everything was transferred.
func (b *Batch) Wait(ctx context.Context) error {
	if ctx.Done() == nil {
		return asError(b.engine.raw.Wait(b.id, noTimeout))
	}
	canceled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		b.engine.raw.Cancel(b.id)
		close(canceled)
	})
	failure := b.engine.raw.Wait(b.id, noTimeout)
	if stop() {
		return asError(failure)
	}
	// A late cancel must not hit what is posted next.
	<-canceled
	if failure == nil {
		return nil
	}
	return ctx.Err()
}

// Progress says how far a batch is.
type Progress struct {
	// Done: every request ended, and no local memory will be touched again.
	Done bool
	// Status is OK while nothing failed; else the first failure.
	Status    Code
	Requests  uint64
	Completed uint64
	Failed    uint64
	// Bytes are those of completed requests.
	Bytes uint64
}

// Poll tells how far the batch is; a failed transfer is told by its Status. It never blocks.
func (b *Batch) Poll() (Progress, error) {
	raw, failure := b.engine.raw.Poll(b.id)
	return Progress{
		Done: raw.IsDone, Status: Code(raw.Status), Requests: raw.RequestCount,
		Completed: raw.CompletedCount, Failed: raw.FailedCount, Bytes: raw.CompletedBytes,
	}, asError(failure)
}

// Task tells what became of one request; its Status is [ErrNotReady] while it is under way.
func (b *Batch) Task(index int) (Completion, error) {
	var task [1]Completion
	failure := b.engine.raw.Task(b.id, index, &rawCompletions(task[:])[0])
	return task[0], asError(failure)
}

// Cancel ends the batch early. It is done soon after: wait for that before the local memory is used otherwise.
func (b *Batch) Cancel() error { return asError(b.engine.raw.Cancel(b.id)) }

// Close gives the batch back. One that is under way is canceled in the background.
func (b *Batch) Close() error { return asError(b.engine.raw.Release(b.id)) }

func (e *Engine) submit(requests []Request, options *BatchOptions, prepare bool) (uint64, error) {
	settings, err := options.settings()
	if err != nil {
		return 0, err
	}
	raw := make([]capi.Request, len(requests))
	var pieces []capi.Piece
	for i := range requests {
		pieces = requests[i].enter(&raw[i], pieces)
	}
	id, failure := e.raw.Submit(raw, pieces, &settings, prepare)
	return id, asError(failure)
}

// enter fills in what crosses to C; pieces of all requests share one list.
func (r *Request) enter(raw *capi.Request, pieces []capi.Piece) []capi.Piece {
	raw.Opcode = uint32(r.Op)
	raw.Remote = r.Remote
	raw.UserData = r.UserData
	raw.Length = uint64(len(r.Local))
	if len(r.Local) > 0 {
		raw.Local = uintptr(unsafe.Pointer(&r.Local[0]))
	}
	if r.Segment != nil {
		raw.Segment = r.Segment.id
	}
	raw.FirstPiece = uint64(len(pieces))
	raw.PieceCount = uint32(len(r.Pieces))
	for _, piece := range r.Pieces {
		raw.Length += uint64(len(piece))
		pieces = append(pieces, capi.Piece{
			Address: uintptr(unsafe.Pointer(unsafe.SliceData(piece))), Length: uintptr(len(piece)),
		})
	}
	return pieces
}

func (o *BatchOptions) settings() (capi.BatchOptions, error) {
	if o == nil {
		return capi.BatchOptions{}, nil
	}
	deadline, err := optionMilliseconds(o.Deadline, "Deadline")
	settings := capi.BatchOptions{
		Priority: uint32(o.Priority), Flags: flag(o.CompleteOnce, 1), DeadlineMs: deadline, UserData: o.UserData,
	}
	if o.Queue != nil {
		settings.Queue = o.Queue.id
	}
	if o.Notify != nil {
		settings.Notify, settings.NotifyTag, settings.NotifyData = true, o.Notify.Tag, o.Notify.Data
		if o.Notify.Segment != nil {
			settings.NotifySegment = o.Notify.Segment.id
		}
	}
	return settings, err
}
