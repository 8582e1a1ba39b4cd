// Errors: code and text of failed calls, and what comes of handles that were closed.

package mooncake_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"mooncake.dev/go"
)

func TestErrorsCarryCodeAndText(t *testing.T) {
	_, err := mooncake.New(&mooncake.Options{BindAddress: "127.0.0.1", Lanes: 1000})
	mustFail(t, err, mooncake.ErrInvalidArgument)
	var failed *mooncake.Error
	if !errors.As(err, &failed) || failed.Code != mooncake.ErrInvalidArgument {
		t.Fatalf("%#v is no *Error with its code", err)
	}
	if !strings.Contains(failed.Text, "lanes") || !strings.Contains(err.Error(), "INVALID_ARGUMENT") {
		t.Errorf("%q names neither the field nor the code", err)
	}
	if errors.Is(err, mooncake.ErrTimeout) {
		t.Error("one code is taken for another")
	}
}

func TestCodesKnowTheirNamesAndWhetherTryingAgainMayHelp(t *testing.T) {
	if name := mooncake.ErrTimeout.Name(); name != "TIMEOUT" {
		t.Errorf("the name of ErrTimeout is %q", name)
	}
	if mooncake.ErrBusy.Error() == "" || !mooncake.ErrBusy.Retryable() || mooncake.ErrInvalidHandle.Retryable() {
		t.Error("codes do not say what the library says about them")
	}
	for _, code := range []mooncake.Code{
		mooncake.ErrInvalidArgument, mooncake.ErrInvalidHandle, mooncake.ErrUnsupported, mooncake.ErrBufferTooSmall,
		mooncake.ErrInvalidState, mooncake.ErrAddressNotRegistered, mooncake.ErrBusy, mooncake.ErrTimeout,
		mooncake.ErrCanceled, mooncake.ErrExhausted, mooncake.ErrNoSpace, mooncake.ErrQuotaExceeded,
		mooncake.ErrNotReady, mooncake.ErrNotFound, mooncake.ErrAlreadyExists, mooncake.ErrLeaseExpired,
		mooncake.ErrPermission, mooncake.ErrUnauthenticated, mooncake.ErrVersionMismatch, mooncake.ErrUnreachable,
		mooncake.ErrConnectionLost, mooncake.ErrPeerRestarted, mooncake.ErrRejected, mooncake.ErrCorrupted,
		mooncake.ErrDevice, mooncake.ErrIO, mooncake.ErrInternal,
	} {
		if code.Name() == "UNKNOWN" {
			t.Errorf("the library does not know code %d", int32(code))
		}
	}
}

func TestTextsWithANulAreRefusedAndNotCut(t *testing.T) {
	engine := newEngine(t, "")
	_, err := engine.OpenLater("127.0.0.1:1\x00tail")
	mustFail(t, err, mooncake.ErrInvalidArgument)
	_, err = mooncake.New(&mooncake.Options{Name: "a\x00b"})
	mustFail(t, err, mooncake.ErrInvalidArgument)
	_, err = engine.TryReceiveTag("a\x00b")
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestClosedHandlesAreInvalid(t *testing.T) {
	p := newPair(t, 4096)
	batch, err := p.initiator.Submit([]mooncake.Request{p.write(0, 64)}, nil)
	must(t, err)
	must(t, batch.Wait(guarded(t)))
	queue, err := p.initiator.NewQueue(0)
	must(t, err)
	for _, thing := range []interface{ Close() error }{batch, queue, p.peer, p.local} {
		must(t, thing.Close())
		mustFail(t, thing.Close(), mooncake.ErrInvalidHandle)
	}
	_, err = batch.Poll()
	mustFail(t, err, mooncake.ErrInvalidHandle)
	mustFail(t, batch.Wait(guarded(t)), mooncake.ErrInvalidHandle)
	_, err = queue.Poll(make([]mooncake.Completion, 1))
	mustFail(t, err, mooncake.ErrInvalidHandle)
	_, err = p.peer.Info()
	mustFail(t, err, mooncake.ErrInvalidHandle)
	if p.local.Bytes() != nil {
		t.Error("freed memory is still handed out")
	}
}

func TestEverythingOfAClosedEngineIsInvalid(t *testing.T) {
	p := newPair(t, 4096)
	must(t, p.initiator.Close())
	mustFail(t, p.initiator.Close(), mooncake.ErrInvalidHandle)
	_, err := p.initiator.Info()
	mustFail(t, err, mooncake.ErrInvalidHandle)
	_, err = p.peer.Regions()
	mustFail(t, err, mooncake.ErrInvalidHandle)
	mustFail(t, p.local.Close(), mooncake.ErrInvalidHandle)
	mustFail(t, p.peer.Notify(context.Background(), "", nil), mooncake.ErrInvalidHandle)
	_, err = p.initiator.Receive(guarded(t))
	mustFail(t, err, mooncake.ErrInvalidHandle)
	if p.local.Bytes() != nil {
		t.Error("memory of a closed engine is still handed out")
	}
}

func TestTheZeroEngineIsInvalid(t *testing.T) {
	var engine mooncake.Engine
	_, err := engine.Info()
	mustFail(t, err, mooncake.ErrInvalidHandle)
	_, err = engine.Allocate(4096, nil)
	mustFail(t, err, mooncake.ErrInvalidHandle)
}
