// The world of the tests: two engines of one process that know each other, with memory on both sides.

package mooncake_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"mooncake.dev/go"
)

// Long enough for any machine: a guard against hanging, never a measurement.
const guard = 30 * time.Second

type pair struct {
	target, initiator *mooncake.Engine
	remote, local     *mooncake.Allocation
	peer              *mooncake.Segment
}

func newEngine(t *testing.T, name string) *mooncake.Engine {
	t.Helper()
	engine, err := mooncake.New(&mooncake.Options{Name: name, BindAddress: "127.0.0.1"})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	return engine
}

func newPair(t *testing.T, size int) *pair {
	t.Helper()
	p := &pair{target: newEngine(t, "target"), initiator: newEngine(t, "initiator")}
	p.remote, p.local = allocate(t, p.target, size), allocate(t, p.initiator, size)
	info, err := p.target.Info()
	must(t, err)
	p.peer, err = p.initiator.Open(guarded(t), info.Address)
	must(t, err)
	return p
}

func allocate(t *testing.T, engine *mooncake.Engine, size int) *mooncake.Allocation {
	t.Helper()
	memory, err := engine.Allocate(size, nil)
	must(t, err)
	return memory
}

// at is the peer's address of the byte at an offset.
func (p *pair) at(offset int) uint64 { return p.remote.Address() + uint64(offset) }

func (p *pair) write(offset, length int) mooncake.Request {
	return mooncake.Request{
		Op: mooncake.Write, Segment: p.peer, Remote: p.at(offset), Local: p.local.Bytes()[offset : offset+length],
	}
}

func (p *pair) read(offset, length int) mooncake.Request {
	request := p.write(offset, length)
	request.Op = mooncake.Read
	return request
}

// guarded is a context that ends when something hangs.
func guarded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	t.Cleanup(cancel)
	return ctx
}

// fill writes bytes that depend on their place, so that a shifted copy is noticed.
func fill(memory []byte, seed int) {
	for i := range memory {
		memory[i] = byte(seed + i*7 + i>>8)
	}
}

func holds(memory []byte, seed int) bool {
	for i := range memory {
		if memory[i] != byte(seed+i*7+i>>8) {
			return false
		}
	}
	return true
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustFail(t *testing.T, err error, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}
