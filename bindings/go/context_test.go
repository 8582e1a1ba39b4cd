// Contexts: calls that wait end when theirs does, and say so with its error.

package mooncake_test

import (
	"context"
	"net"
	"testing"
	"time"

	"mooncake.dev/go"
)

// mutePeer is an address where somebody listens and nobody answers.
func mutePeer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestOpeningEndsWithItsContext(t *testing.T) {
	engine := newEngine(t, "")
	_, err := engine.Open(shortly(t), mutePeer(t))
	mustFail(t, err, context.DeadlineExceeded)
	_, err = engine.Open(canceled(), mutePeer(t))
	mustFail(t, err, context.Canceled)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = engine.Open(ctx, mutePeer(t))
	mustFail(t, err, context.Canceled)
}

func TestWaitingForABatchCancelsItWhenTheContextEnds(t *testing.T) {
	engine := newEngine(t, "")
	memory := allocate(t, engine, 4096)
	peer, err := engine.OpenLater(mutePeer(t))
	must(t, err)
	requests := []mooncake.Request{{Op: mooncake.Write, Segment: peer, Remote: 4096, Local: memory.Bytes()}}
	batch, err := engine.Submit(requests, nil)
	must(t, err)
	defer batch.Close()
	mustFail(t, memory.TryClose(), mooncake.ErrBusy)
	if err := batch.Wait(shortly(t)); err != context.DeadlineExceeded {
		t.Fatalf("%v", err)
	}
	progress, err := batch.Poll()
	must(t, err)
	if !progress.Done || progress.Failed != 1 || progress.Status == mooncake.OK {
		t.Errorf("%+v", progress)
	}
	mustFail(t, engine.Transfer(shortly(t), requests, nil), context.DeadlineExceeded)
	mustFail(t, engine.Transfer(canceled(), requests, nil), context.Canceled)
	if info, _ := engine.Info(); info.Batches != 1 {
		t.Errorf("%d batches are left", info.Batches)
	}
}

func TestTheDeadlineOfABatchEndsIt(t *testing.T) {
	engine := newEngine(t, "")
	memory := allocate(t, engine, 4096)
	peer, err := engine.OpenLater(mutePeer(t))
	must(t, err)
	err = engine.Transfer(guarded(t), []mooncake.Request{
		{Op: mooncake.Write, Segment: peer, Remote: 4096, Local: memory.Bytes()},
	}, &mooncake.BatchOptions{Deadline: 20 * time.Millisecond})
	if failed, ok := err.(*mooncake.Error); !ok || (failed.Code != mooncake.ErrTimeout && failed.Code != mooncake.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

func TestABatchThatWasFasterThanItsContextSucceeds(t *testing.T) {
	p := newPair(t, 4096)
	batch, err := p.initiator.Prepare([]mooncake.Request{p.write(0, 4096)}, nil)
	must(t, err)
	defer batch.Close()
	for round := 0; round < 100; round++ {
		must(t, batch.Post())
		for progress := (mooncake.Progress{}); !progress.Done; {
			progress, err = batch.Poll()
			must(t, err)
		}
		// Done before it was waited for: the cancel of an ended context must hit neither this run nor the next.
		must(t, batch.Wait(canceled()))
	}
}

func TestWaitingForWhatNeverComesEndsWithTheContext(t *testing.T) {
	engine := newEngine(t, "")
	queue, err := engine.NewQueue(0)
	must(t, err)
	for _, c := range []struct {
		ctx  context.Context
		want error
	}{{shortly(t), context.DeadlineExceeded}, {canceled(), context.Canceled}} {
		_, err = queue.Wait(c.ctx, make([]mooncake.Completion, 1))
		mustFail(t, err, c.want)
		_, err = engine.Receive(c.ctx)
		mustFail(t, err, c.want)
		_, err = engine.ReceiveTag(c.ctx, "tag")
		mustFail(t, err, c.want)
	}
}

func TestAnIdleEngineIsDrainedAndABusyOneUntilTheContextEnds(t *testing.T) {
	engine := newEngine(t, "")
	must(t, engine.Drain(context.Background()))
	memory := allocate(t, engine, 4096)
	peer, err := engine.OpenLater(mutePeer(t))
	must(t, err)
	batch, err := engine.Submit([]mooncake.Request{
		{Op: mooncake.Write, Segment: peer, Remote: 4096, Local: memory.Bytes()},
	}, nil)
	must(t, err)
	mustFail(t, engine.Drain(shortly(t)), context.DeadlineExceeded)
	must(t, batch.Close())
	must(t, engine.Drain(guarded(t)))
}
