// Replicas, segments and quotas of a store.

package mooncake

import (
	"context"
	"time"

	"mooncake.dev/go/internal/capi"
)

// StoreTaskState is how far work is that the store does by itself.
type StoreTaskState uint32

// What TaskFailed failed by is the status of the task.
const (
	TaskRunning  StoreTaskState = 1
	TaskDone     StoreTaskState = 2
	TaskFailed   StoreTaskState = 3
	TaskCanceled StoreTaskState = 4
)

// StoreTaskInfo says how far a task is.
type StoreTaskInfo struct {
	State        StoreTaskState
	Status       Code
	RetryAfter   time.Duration
	MovedObjects uint64
	MovedBytes   uint64
}

// StoreTask is work that the store does by itself.
type StoreTask struct {
	store *Store
	// ID finds the task again from another process.
	ID uint64
}

// Task is the task of that number.
func (s *Store) Task(id uint64) *StoreTask { return &StoreTask{s, id} }

func (s *Store) taskOf(id uint64, err error) (*StoreTask, error) {
	if err != nil {
		return nil, err
	}
	return s.Task(id), nil
}

// Copy begins to make one more replica, on the first of the preferred segments that has room, or anywhere.
func (s *Store) Copy(ctx context.Context, key string, preferred ...string) (*StoreTask, error) {
	return s.taskOf(ask(ctx, func(timeoutMs int64) (uint64, *capi.Failure) {
		return s.raw.Copy(key, "", preferred, timeoutMs)
	}, nil))
}

// Move begins to move the replica that lies on a segment.
func (s *Store) Move(ctx context.Context, key, segment string, preferred ...string) (*StoreTask, error) {
	if segment == "" {
		return nil, &Error{ErrInvalidArgument, "the segment has no name"}
	}
	return s.taskOf(ask(ctx, func(timeoutMs int64) (uint64, *capi.Failure) {
		return s.raw.Copy(key, segment, preferred, timeoutMs)
	}, nil))
}

// Trim gives up replicas beyond a number; how many those were.
func (s *Store) Trim(ctx context.Context, key string, keep int) (int, error) {
	trimmed, err := ask(ctx, func(timeoutMs int64) (uint64, *capi.Failure) {
		return s.raw.Trim(key, uint32(max(keep, 0)), timeoutMs)
	}, nil)
	return int(trimmed), err
}

// Drain begins to move all that a segment has to others.
func (s *Store) Drain(ctx context.Context, segment string) (*StoreTask, error) {
	return s.taskOf(ask(ctx, func(timeoutMs int64) (uint64, *capi.Failure) {
		return s.raw.Drain(segment, timeoutMs)
	}, nil))
}

// Info tells how far the task is. That it failed is no error of this call.
func (t *StoreTask) Info(ctx context.Context) (StoreTaskInfo, error) {
	raw, err := ask(ctx, func(timeoutMs int64) (capi.StoreTask, *capi.Failure) {
		return t.store.raw.TaskInfo(t.ID, timeoutMs)
	}, nil)
	return StoreTaskInfo{
		StoreTaskState(raw.State), Code(raw.Status), time.Duration(raw.RetryAfterMs) * time.Millisecond,
		raw.MovedObjects, raw.MovedBytes,
	}, err
}

// Wait waits for the task's end.
func (t *StoreTask) Wait(ctx context.Context) (StoreTaskInfo, error) {
	for {
		info, err := t.Info(ctx)
		if err != nil || info.State != TaskRunning {
			return info, err
		}
		select {
		case <-ctx.Done():
			return info, ctx.Err()
		case <-time.After(glance):
		}
	}
}

// Cancel ends the task early. What it has moved stays moved.
func (t *StoreTask) Cancel(ctx context.Context) error {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return err
	}
	return asError(t.store.raw.CancelTask(t.ID, timeoutMs))
}

// NoQuota is no limit to what a tenant may have.
const NoQuota = ^uint64(0)

// SetQuota sets how many bytes a tenant may have; "" is the store's own.
func (s *Store) SetQuota(ctx context.Context, tenant string, bytes uint64) error {
	timeoutMs, err := timeout(ctx)
	if err != nil {
		return err
	}
	return asError(s.raw.SetQuota(named(tenant), bytes, timeoutMs))
}

// StoreUsage is what a tenant has; QuotaBytes may be NoQuota.
type StoreUsage struct{ UsedBytes, QuotaBytes, Objects uint64 }

// Usage tells what a tenant has; "" is the store's own.
func (s *Store) Usage(ctx context.Context, tenant string) (StoreUsage, error) {
	raw, err := ask(ctx, func(timeoutMs int64) (capi.StoreUsage, *capi.Failure) {
		return s.raw.Usage(named(tenant), timeoutMs)
	}, nil)
	return StoreUsage(raw), err
}

func named(tenant string) *string {
	if tenant == "" {
		return nil
	}
	return &tenant
}

// StoreSegment is memory that a node gives.
type StoreSegment struct {
	Name string
	// Node is one start of a process.
	Node           uint64
	Capacity, Used uint64
	// Open segments take objects; what draining ones have is being moved away.
	Open, Draining bool
}

// Segments lists the memory that all nodes give.
func (s *Store) Segments(ctx context.Context) ([]StoreSegment, error) {
	raw, err := ask(ctx, func(timeoutMs int64) ([]capi.StoreSegment, *capi.Failure) {
		return s.raw.Segments(timeoutMs)
	}, nil)
	segments := make([]StoreSegment, len(raw))
	for i, one := range raw {
		segments[i] = StoreSegment{one.Name, one.Node, one.Capacity, one.Used, one.IsOpen, one.IsDraining}
	}
	return segments, err
}
