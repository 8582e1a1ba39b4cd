// Patience: how calls that wait end with their context.

package mooncake

import (
	"context"
	"time"

	"mooncake.dev/go/internal/capi"
)

// A call that waits for something to happen looks at its context this often.
const glance = 50 * time.Millisecond

// Without end, or the library's own default.
const noTimeout = -1

// inGlances calls try, which waits at most so long and tells whether it is done, until it is or the context ends.
func inGlances(ctx context.Context, try func(timeoutMs int64) (bool, *capi.Failure)) error {
	timeoutMs := int64(noTimeout)
	if ctx.Done() != nil {
		timeoutMs = glance.Milliseconds()
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok {
			timeoutMs = min(glance.Milliseconds(), milliseconds(time.Until(deadline)))
		}
		if done, failure := try(timeoutMs); done || failure != nil {
			return asError(failure)
		}
	}
}

// ask calls question, which waits for a peer's answer, and leaves it alone when the context ends; an answer that
// comes after that goes to late.
func ask[T any](ctx context.Context, question func(timeoutMs int64) (T, *capi.Failure), late func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if ctx.Done() == nil {
		answer, failure := question(noTimeout)
		return answer, asError(failure)
	}
	timeoutMs := int64(noTimeout)
	if deadline, ok := ctx.Deadline(); ok {
		// A little more than the context has, so that it is the context that ends the call.
		timeoutMs = milliseconds(time.Until(deadline) + glance)
	}
	type answered struct {
		answer  T
		failure *capi.Failure
	}
	answers := make(chan answered, 1)
	go func() {
		answer, failure := question(timeoutMs)
		answers <- answered{answer, failure}
	}()
	select {
	case got := <-answers:
		return got.answer, asError(got.failure)
	case <-ctx.Done():
		go func() {
			if got := <-answers; got.failure == nil && late != nil {
				late(got.answer)
			}
		}()
		return none, ctx.Err()
	}
}

// milliseconds rounds up, to at least one: zero would mean not to wait at all.
func milliseconds(d time.Duration) int64 {
	return max(1, int64((d+time.Millisecond-1)/time.Millisecond))
}

// optionMilliseconds is a duration in options, where zero means default and a negative one is a mistake.
func optionMilliseconds(d time.Duration, name string) (uint64, error) {
	switch {
	case d < 0:
		return 0, &Error{ErrInvalidArgument, name + " is negative"}
	case d == 0:
		return 0, nil
	}
	return uint64(milliseconds(d)), nil
}
