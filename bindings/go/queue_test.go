// Queues and notifications.

package mooncake_test

import (
	"bytes"
	"testing"

	"mooncake.dev/go"
)

func TestEachRequestCompletesWithItsUserData(t *testing.T) {
	p := newPair(t, 4096)
	queue, err := p.initiator.NewQueue(0)
	must(t, err)
	defer queue.Close()
	first, second := p.write(0, 64), p.write(64, 32)
	first.UserData, second.UserData = 40, 41
	batch, err := p.initiator.Submit([]mooncake.Request{first, second}, &mooncake.BatchOptions{Queue: queue})
	must(t, err)
	defer batch.Close()
	seen := map[uint64]mooncake.Completion{}
	for len(seen) < 2 {
		completions := make([]mooncake.Completion, 8)
		count, err := queue.Wait(guarded(t), completions)
		must(t, err)
		for _, c := range completions[:count] {
			if c.Kind != mooncake.RequestDone || c.Err() != nil || !c.Of(batch) {
				t.Errorf("%+v", c)
			}
			seen[c.UserData] = c
		}
	}
	if seen[40].Index != 0 || seen[40].Length != 64 || seen[41].Index != 1 || seen[41].Length != 32 {
		t.Errorf("%+v", seen)
	}
}

func TestABatchMayCompleteAsOne(t *testing.T) {
	p := newPair(t, 4096)
	queue, err := p.initiator.NewQueue(4)
	must(t, err)
	batch, err := p.initiator.Submit([]mooncake.Request{p.write(0, 64), p.write(64, 64)},
		&mooncake.BatchOptions{Queue: queue, CompleteOnce: true, UserData: 7})
	must(t, err)
	defer batch.Close()
	completions := make([]mooncake.Completion, 4)
	count, err := queue.Wait(guarded(t), completions)
	must(t, err)
	if count != 1 || completions[0].Kind != mooncake.BatchDone || completions[0].UserData != 7 {
		t.Errorf("%d: %+v", count, completions[0])
	}
	if count, err := queue.Poll(completions); count != 0 || err != nil {
		t.Errorf("%d more, %v", count, err)
	}
	if fd, err := queue.EventFD(); fd < 0 || err != nil {
		t.Errorf("descriptor %d, %v", fd, err)
	}
	_, err = queue.Poll(nil)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestBatchesThatCouldOverflowAQueueAreRefused(t *testing.T) {
	p := newPair(t, 4096)
	queue, err := p.initiator.NewQueue(1)
	must(t, err)
	_, err = p.initiator.Submit([]mooncake.Request{p.write(0, 64), p.write(64, 64)}, &mooncake.BatchOptions{Queue: queue})
	mustFail(t, err, mooncake.ErrExhausted)
}

func TestClosingAQueueWakesWhoWaitsOnIt(t *testing.T) {
	queue, err := newEngine(t, "").NewQueue(0)
	must(t, err)
	woken := make(chan error)
	go func() {
		_, err := queue.Wait(guarded(t), make([]mooncake.Completion, 1))
		woken <- err
	}()
	must(t, queue.Close())
	mustFail(t, <-woken, mooncake.ErrInvalidHandle)
}

func TestATagPicksItsOwn(t *testing.T) {
	p := newPair(t, 4096)
	for _, message := range []string{"red 1", "blue 2", "red 3"} {
		must(t, p.peer.Notify(guarded(t), message[:len(message)-2], []byte(message)))
	}
	blue, err := p.target.ReceiveTag(guarded(t), "blue")
	must(t, err)
	if string(blue.Data) != "blue 2" || blue.Tag != "blue" || blue.Sender != "initiator" || len(blue.SenderID) != 32 {
		t.Errorf("%+v", blue)
	}
	_, err = p.target.TryReceiveTag("blue")
	mustFail(t, err, mooncake.ErrNotReady)
	first, err := p.target.Receive(guarded(t))
	must(t, err)
	third, err := p.target.TryReceive()
	must(t, err)
	if string(first.Data) != "red 1" || string(third.Data) != "red 3" {
		t.Errorf("%q, then %q", first.Data, third.Data)
	}
}

func TestEmptyAndLongNotificationsArriveWhole(t *testing.T) {
	p := newPair(t, 4096)
	longest := bytes.Repeat([]byte("a\x00\xff"), mooncake.MaxNotifyLength/3)
	must(t, p.peer.Notify(guarded(t), "", nil))
	must(t, p.peer.Notify(guarded(t), "long", longest))
	empty, err := p.target.ReceiveTag(guarded(t), "")
	must(t, err)
	long, err := p.target.ReceiveTag(guarded(t), "long")
	must(t, err)
	if len(empty.Data) != 0 || !bytes.Equal(long.Data, longest) {
		t.Errorf("%d and %d bytes arrived", len(empty.Data), len(long.Data))
	}
	mustFail(t, p.peer.Notify(guarded(t), "", make([]byte, mooncake.MaxNotifyLength+1)), mooncake.ErrInvalidArgument)
}

func TestANotificationFollowsTheBytesOfItsBatch(t *testing.T) {
	p := newPair(t, 4096)
	fill(p.local.Bytes(), 6)
	options := &mooncake.BatchOptions{Notify: &mooncake.Notify{Tag: "kv", Data: []byte("request 12")}}
	batch, err := p.initiator.Submit([]mooncake.Request{p.write(0, 4096)}, options)
	must(t, err)
	defer batch.Close()
	arrived, err := p.target.ReceiveTag(guarded(t), "kv")
	must(t, err)
	if string(arrived.Data) != "request 12" || !holds(p.remote.Bytes(), 6) {
		t.Errorf("%q came before its bytes", arrived.Data)
	}
	must(t, batch.Wait(guarded(t)))
}

func TestABoundTagIsAnnouncedOnItsQueue(t *testing.T) {
	p := newPair(t, 4096)
	tagged, err := p.target.NewQueue(0)
	must(t, err)
	others, err := p.target.NewQueue(0)
	must(t, err)
	must(t, tagged.BindNotifications("ready", 17))
	must(t, others.BindOtherNotifications(18))
	must(t, p.peer.Notify(guarded(t), "ready", nil))
	must(t, p.peer.Notify(guarded(t), "else", nil))
	for _, expected := range []struct {
		queue    *mooncake.Queue
		userData uint64
	}{{tagged, 17}, {others, 18}} {
		completions := make([]mooncake.Completion, 2)
		count, err := expected.queue.Wait(guarded(t), completions)
		must(t, err)
		if count != 1 || completions[0].Kind != mooncake.NotifyArrived || completions[0].UserData != expected.userData {
			t.Errorf("%d: %+v", count, completions[0])
		}
	}
	must(t, p.target.UnbindNotifications("ready"))
	must(t, p.target.UnbindOtherNotifications())
	must(t, p.peer.Notify(guarded(t), "ready", nil))
	if count, err := tagged.Poll(make([]mooncake.Completion, 1)); count != 0 || err != nil {
		t.Errorf("%d announced, %v", count, err)
	}
}
