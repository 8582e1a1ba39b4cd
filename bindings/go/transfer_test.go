// Transfers between two engines of one process.

package mooncake_test

import (
	"fmt"
	"sync"
	"testing"

	"mooncake.dev/go"
)

func TestWhatWasWrittenIsReadBack(t *testing.T) {
	p := newPair(t, 1<<20)
	fill(p.local.Bytes(), 1)
	must(t, p.initiator.Transfer(guarded(t), []mooncake.Request{p.write(0, 1<<20)}, nil))
	if !holds(p.remote.Bytes(), 1) {
		t.Fatal("other bytes arrived")
	}
	clear(p.local.Bytes())
	must(t, p.initiator.Transfer(guarded(t), []mooncake.Request{p.read(0, 1<<20)}, nil))
	if !holds(p.local.Bytes(), 1) {
		t.Fatal("other bytes came back")
	}
	stats, err := p.initiator.Stats()
	must(t, err)
	if stats.Batches != 2 || stats.Completed != 2 || stats.Failed != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestPiecesLandInTheirOrder(t *testing.T) {
	p := newPair(t, 4096)
	fill(p.remote.Bytes(), 2)
	memory := p.local.Bytes()
	pieces := [][]byte{memory[3000:3100], memory[:1], memory[1000:1899]}
	whole := mooncake.Request{Op: mooncake.Read, Segment: p.peer, Remote: p.at(0), Pieces: pieces}
	tail := mooncake.Request{Op: mooncake.Read, Segment: p.peer, Remote: p.at(0), Pieces: [][]byte{memory[2000:2010]}}
	must(t, p.initiator.Transfer(guarded(t), []mooncake.Request{whole, tail}, nil))
	var joined []byte
	for _, piece := range pieces {
		joined = append(joined, piece...)
	}
	if len(joined) != 1000 || !holds(joined, 2) || !holds(memory[2000:2010], 2) {
		t.Error("the pieces hold other bytes")
	}
}

func TestABatchOfThousandsCrossesOnce(t *testing.T) {
	const count, size = 5000, 64
	p := newPair(t, count*size)
	fill(p.local.Bytes(), 3)
	requests := make([]mooncake.Request, count)
	for i := range requests {
		requests[i] = p.write(i*size, size)
		requests[i].UserData = uint64(i)
	}
	batch, err := p.initiator.Submit(requests, nil)
	must(t, err)
	defer batch.Close()
	must(t, batch.Wait(guarded(t)))
	progress, err := batch.Poll()
	must(t, err)
	want := mooncake.Progress{Done: true, Requests: count, Completed: count, Bytes: count * size}
	if progress != want || !holds(p.remote.Bytes(), 3) {
		t.Errorf("%+v", progress)
	}
	last, err := batch.Task(count - 1)
	must(t, err)
	if last.Err() != nil || last.UserData != count-1 || last.Length != size || !last.Of(batch) {
		t.Errorf("%+v", last)
	}
	_, err = batch.Task(count)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestAPreparedBatchMovesNewBytesWithEachPost(t *testing.T) {
	p := newPair(t, 4096)
	batch, err := p.initiator.Prepare([]mooncake.Request{p.write(0, 2048), p.write(2048, 2048)}, nil)
	must(t, err)
	defer batch.Close()
	for round := 0; round < 10; round++ {
		fill(p.local.Bytes(), round)
		must(t, batch.Post())
		must(t, batch.Wait(guarded(t)))
		if !holds(p.remote.Bytes(), round) {
			t.Fatalf("other bytes arrived in round %d", round)
		}
	}
	must(t, p.local.TryClose())
	mustFail(t, batch.Post(), mooncake.ErrAddressNotRegistered)
}

func TestFailedTransfersSayWhy(t *testing.T) {
	p := newPair(t, 4096)
	astray := p.write(0, 64)
	astray.Remote = 64
	batch, err := p.initiator.Submit([]mooncake.Request{p.write(64, 64), astray}, nil)
	must(t, err)
	defer batch.Close()
	mustFail(t, batch.Wait(guarded(t)), mooncake.ErrAddressNotRegistered)
	progress, err := batch.Poll()
	must(t, err)
	if !progress.Done || progress.Status != mooncake.ErrAddressNotRegistered || progress.Failed != 1 || progress.Completed != 1 {
		t.Errorf("%+v", progress)
	}
}

func TestRequestsThatCannotBeStartNothing(t *testing.T) {
	p := newPair(t, 4096)
	strange, empty, nowhere, both := p.write(0, 64), p.write(0, 0), p.write(0, 64), p.write(0, 64)
	strange.Local = make([]byte, 64)
	nowhere.Segment = nil
	both.Pieces = [][]byte{p.local.Bytes()[:8]}
	for _, bad := range []struct {
		request mooncake.Request
		want    mooncake.Code
	}{
		{strange, mooncake.ErrAddressNotRegistered},
		{empty, mooncake.ErrInvalidArgument},
		{nowhere, mooncake.ErrInvalidHandle},
		{both, mooncake.ErrInvalidArgument},
		{mooncake.Request{Segment: p.peer, Remote: p.at(0), Local: p.local.Bytes()}, mooncake.ErrInvalidArgument},
	} {
		_, err := p.initiator.Submit([]mooncake.Request{p.write(64, 64), bad.request}, nil)
		mustFail(t, err, bad.want)
	}
	_, err := p.initiator.Submit(nil, nil)
	mustFail(t, err, mooncake.ErrInvalidArgument)
	_, err = p.initiator.Submit([]mooncake.Request{p.write(0, 64)}, &mooncake.BatchOptions{Deadline: -1})
	mustFail(t, err, mooncake.ErrInvalidArgument)
	if info, _ := p.initiator.Info(); info.Batches != 0 {
		t.Errorf("%d batches are left", info.Batches)
	}
}

func TestEightGoroutinesShareTwoEngines(t *testing.T) {
	const slot = 8192
	p := newPair(t, 8*slot)
	ctx := guarded(t)
	work := func(id int) error {
		mine := p.local.Bytes()[id*slot : (id+1)*slot]
		for round := 0; round < 200; round++ {
			fill(mine, id*31+round)
			if err := p.initiator.Transfer(ctx, []mooncake.Request{p.write(id*slot, slot)}, nil); err != nil {
				return err
			}
			clear(mine)
			if err := p.initiator.Transfer(ctx, []mooncake.Request{p.read(id*slot, slot)}, nil); err != nil {
				return err
			}
			if !holds(mine, id*31+round) {
				return fmt.Errorf("other bytes came back in round %d", round)
			}
		}
		return nil
	}
	var group sync.WaitGroup
	for id := 0; id < 8; id++ {
		id := id
		group.Add(1)
		go func() {
			defer group.Done()
			if err := work(id); err != nil {
				t.Errorf("goroutine %d: %v", id, err)
			}
		}()
	}
	group.Wait()
}

func TestCallsThatRaceWithCloseFailCleanly(t *testing.T) {
	ctx := guarded(t)
	for round := 0; round < 20; round++ {
		p := newPair(t, 4096)
		request := p.write(0, 64)
		var group sync.WaitGroup
		started := make(chan struct{}, 4)
		for id := 0; id < 4; id++ {
			group.Add(1)
			go func() {
				defer group.Done()
				started <- struct{}{}
				var err error
				for err == nil {
					err = p.initiator.Transfer(ctx, []mooncake.Request{request}, nil)
				}
				if _, ok := err.(*mooncake.Error); !ok {
					t.Errorf("%v", err)
				}
			}()
		}
		for id := 0; id < 4; id++ {
			<-started
		}
		must(t, p.initiator.Close())
		group.Wait()
	}
}
