// Engine, memory and segments: made, described, ended.

package mooncake_test

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"mooncake.dev/go"
)

func TestAnEngineKnowsItsNameAndAddress(t *testing.T) {
	info, err := newEngine(t, "decode-3").Info()
	must(t, err)
	if info.Name != "decode-3" || info.Port == 0 || !strings.HasPrefix(info.Address, "127.0.0.1:") || len(info.EngineID) != 32 {
		t.Errorf("%+v", info)
	}
}

func TestOptionsArriveInTheEffectiveConfiguration(t *testing.T) {
	engine, err := mooncake.New(&mooncake.Options{BindAddress: "127.0.0.1", DefaultDeadline: 7 * time.Second, NoMetrics: true})
	must(t, err)
	defer engine.Close()
	config, err := engine.Config()
	must(t, err)
	if !json.Valid([]byte(config)) || !strings.Contains(config, "7000") {
		t.Errorf("%s", config)
	}
	_, err = engine.Metrics()
	mustFail(t, err, mooncake.ErrInvalidState)
	_, err = mooncake.New(&mooncake.Options{Keepalive: -1})
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestTheLibraryReportsOnItselfAndItsHost(t *testing.T) {
	if mooncake.Version() == "" {
		t.Error("no version")
	}
	report, err := mooncake.HostReport()
	must(t, err)
	if !json.Valid([]byte(report)) {
		t.Errorf("%s", report)
	}
	metrics, err := newEngine(t, "").Metrics()
	must(t, err)
	if !strings.Contains(metrics, "# ") {
		t.Errorf("%s", metrics)
	}
}

func TestAllocatedMemoryIsZeroAndDescribed(t *testing.T) {
	engine := newEngine(t, "")
	memory, err := engine.Allocate(10000, &mooncake.MemoryOptions{Access: mooncake.ReadOnly, Location: "cpu:0"})
	must(t, err)
	for i, b := range memory.Bytes() {
		if b != 0 {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	info, err := memory.Info()
	must(t, err)
	if len(memory.Bytes()) != 10000 || !info.Allocated || !info.PeersMayRead || info.PeersMayWrite || info.Location != "cpu:0" {
		t.Errorf("%+v", info)
	}
	must(t, memory.TryClose())
	if after, _ := engine.Info(); after.Regions != 0 {
		t.Errorf("%d regions are left", after.Regions)
	}
}

func TestPinnedMemoryIsRegisteredAndTransferred(t *testing.T) {
	p := newPair(t, 4096)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	own := make([]byte, 4096)
	pinner.Pin(&own[0])
	region, err := p.initiator.RegisterPointer(unsafe.Pointer(&own[0]), len(own), nil)
	must(t, err)
	fill(own, 5)
	must(t, p.initiator.Transfer(guarded(t), []mooncake.Request{
		{Op: mooncake.Write, Segment: p.peer, Remote: p.at(0), Local: own},
	}, nil))
	if !holds(p.remote.Bytes(), 5) {
		t.Error("other bytes arrived")
	}
	must(t, region.Close())
	_, err = p.initiator.RegisterPointer(unsafe.Pointer(&own[0]), -1, nil)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestASegmentTellsWhoseItIsAndWhatItOffers(t *testing.T) {
	p := newPair(t, 4096)
	second, err := p.target.Allocate(8192, &mooncake.MemoryOptions{Access: mooncake.ReadOnly, Location: "cpu:1"})
	must(t, err)
	must(t, p.peer.Refresh(guarded(t)))
	regions, err := p.peer.Regions()
	must(t, err)
	if len(regions) != 2 || regions[0].Address != p.at(0) || regions[1].Address != second.Address() {
		t.Fatalf("%+v", regions)
	}
	if !regions[1].PeersMayRead || regions[1].PeersMayWrite || regions[1].Location != "cpu:1" {
		t.Errorf("%+v", regions[1])
	}
	info, err := p.peer.Info()
	must(t, err)
	whose, err := p.target.Info()
	must(t, err)
	if info.Name != "target" || info.EngineID != whose.EngineID || info.Regions != 2 {
		t.Errorf("%+v", info)
	}
	probe, err := p.peer.Probe(guarded(t))
	must(t, err)
	if !probe.Alive || probe.Restarted || probe.EngineID != whose.EngineID {
		t.Errorf("%+v", probe)
	}
}

func TestABlobOpensWhatItNamesAndNothingElse(t *testing.T) {
	p := newPair(t, 4096)
	second := allocate(t, p.target, 4096)
	blob, err := p.target.Export(&second.Region)
	must(t, err)
	segment, err := p.initiator.Import(blob)
	must(t, err)
	regions, err := segment.Regions()
	must(t, err)
	if len(regions) != 1 || regions[0].Address != second.Address() {
		t.Fatalf("%+v", regions)
	}
	fill(second.Bytes(), 3)
	must(t, p.initiator.Transfer(guarded(t), []mooncake.Request{
		{Op: mooncake.Read, Segment: segment, Remote: second.Address(), Local: p.local.Bytes()},
	}, nil))
	if !holds(p.local.Bytes(), 3) {
		t.Error("other bytes arrived")
	}
	_, err = p.initiator.Import(blob[:len(blob)/2])
	mustFail(t, err, mooncake.ErrInvalidArgument)
	_, err = p.initiator.Import(nil)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestTheLocalSegmentCannotBeClosed(t *testing.T) {
	local, err := newEngine(t, "").Local()
	must(t, err)
	mustFail(t, local.Close(), mooncake.ErrInvalidState)
}
