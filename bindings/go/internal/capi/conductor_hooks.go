// The conductor's hooks: calls from the library into Go.

package capi

/*
#include "hooks.h"
*/
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// ConductorAsked mirrors mc_conductor_asked_t.
type ConductorAsked struct {
	Model, Name                                  string
	InputTokens                                  uint64
	Blocks, Priority, ServiceClass, OutputTokens uint32
}

// ConductorCandidate is laid out as mc_conductor_candidate_t.
type ConductorCandidate struct {
	Instance                                uint64
	Rank, Local                             uint32
	Source                                  uint64
	SourceRank, Reach                       uint32
	Queue, Doubt, Recompute, Transfer, Rest float64
}

// The same layout has the same size: one of these arrays has a negative length otherwise.
var (
	_ [unsafe.Sizeof(ConductorCandidate{}) - unsafe.Sizeof(C.mc_conductor_candidate_t{})]struct{}
	_ [unsafe.Sizeof(C.mc_conductor_candidate_t{}) - unsafe.Sizeof(ConductorCandidate{})]struct{}
)

// ConductorProspect mirrors mc_conductor_prospect_t.
type ConductorProspect struct {
	Chosen                                             *ConductorCandidate
	Decode                                             uint64
	DecodeRank                                         uint32
	TTFT, TBT, PrefillLoad, DecodeLoad, DecodeForeseen float64
}

// ConductorCopy mirrors mc_conductor_copy_t.
type ConductorCopy struct {
	Sender, Receiver                   uint64
	SenderRank, ReceiverRank, From, To uint32
}

// ConductorHooks mirrors mc_conductor_hooks_t. A hook that returns false has failed.
type ConductorHooks struct {
	Cost        func(asked *ConductorAsked, candidates []ConductorCandidate) bool
	Score       func(asked *ConductorAsked, candidates []ConductorCandidate, prices []float64) bool
	Admission   func(asked *ConductorAsked, prospect *ConductorProspect, rejection *ConductorRejection) bool
	Replicate   func(asked *ConductorAsked, found []ConductorMatch, copying *ConductorCopy) bool
	BudgetUs    uint64
	StrikeLimit uint32
}

// handles are those of a conductor's hooks, which the library gives back when it needs them no more.
type handles []cgo.Handle

func (h *handles) of(hook any, isSet bool) C.uintptr_t {
	if !isSet {
		return 0
	}
	handle := cgo.NewHandle(hook)
	*h = append(*h, handle)
	return C.uintptr_t(handle)
}

func createHooked(options *C.mc_conductor_options_t, hooks *ConductorHooks, conductor *Conductor) *Failure {
	var made handles
	cost, score := made.of(hooks.Cost, hooks.Cost != nil), made.of(hooks.Score, hooks.Score != nil)
	admission := made.of(hooks.Admission, hooks.Admission != nil)
	replicate := made.of(hooks.Replicate, hooks.Replicate != nil)
	failure := call(func() C.mc_status_t {
		return C.go_conductor_create(options, C.uint64_t(hooks.BudgetUs), C.uint32_t(hooks.StrikeLimit), cost, score,
			admission, replicate, &conductor.name)
	})
	if failure != nil {
		for _, handle := range made {
			handle.Delete()
		}
	}
	return failure
}

func askedOf(raw *C.mc_conductor_asked_t) *ConductorAsked {
	return &ConductorAsked{
		C.GoString(raw.model), C.GoString(raw.name), uint64(raw.input_tokens), uint32(raw.block_count),
		uint32(raw.priority), uint32(raw.service_class), uint32(raw.output_tokens),
	}
}

func candidatesOf(raw *C.mc_conductor_candidate_t, count C.size_t) []ConductorCandidate {
	return unsafe.Slice((*ConductorCandidate)(unsafe.Pointer(raw)), int(count))
}

// guarded calls a hook: a panic cannot pass through the library, and is a failure.
func guarded(hook func() bool) (status C.int32_t) {
	status = C.MC_ERR_INTERNAL
	defer func() { _ = recover() }()
	if hook() {
		status = C.MC_OK
	}
	return status
}

//export mooncakeGoCost
func mooncakeGoCost(handle C.uintptr_t, asked *C.mc_conductor_asked_t, candidates *C.mc_conductor_candidate_t, count C.size_t) C.int32_t {
	hook := cgo.Handle(handle).Value().(func(*ConductorAsked, []ConductorCandidate) bool)
	return guarded(func() bool { return hook(askedOf(asked), candidatesOf(candidates, count)) })
}

//export mooncakeGoScore
func mooncakeGoScore(handle C.uintptr_t, asked *C.mc_conductor_asked_t, candidates *C.mc_conductor_candidate_t, count C.size_t, prices *C.double) C.int32_t {
	hook := cgo.Handle(handle).Value().(func(*ConductorAsked, []ConductorCandidate, []float64) bool)
	return guarded(func() bool {
		written := unsafe.Slice((*float64)(unsafe.Pointer(prices)), int(count))
		return hook(askedOf(asked), candidatesOf(candidates, count), written)
	})
}

//export mooncakeGoAdmission
func mooncakeGoAdmission(handle C.uintptr_t, asked *C.mc_conductor_asked_t, prospect *C.mc_conductor_prospect_t, rejection *C.mc_conductor_rejection_t) C.int32_t {
	hook := cgo.Handle(handle).Value().(func(*ConductorAsked, *ConductorProspect, *ConductorRejection) bool)
	return guarded(func() bool {
		told := rejectionOf(rejection)
		if !hook(askedOf(asked), &ConductorProspect{
			&candidatesOf(&prospect.chosen, 1)[0], uint64(prospect.decode), uint32(prospect.decode_rank),
			float64(prospect.ttft_seconds), float64(prospect.tbt_seconds), float64(prospect.prefill_load),
			float64(prospect.decode_load), float64(prospect.decode_foreseen_load),
		}, &told) {
			return false
		}
		rejection.reason, rejection.retry_after_ms = C.mc_conductor_reason_t(told.Reason), C.uint32_t(told.RetryAfterMs)
		rejection.load, rejection.load_limit = C.double(told.Load), C.double(told.Limit)
		return true
	})
}

//export mooncakeGoReplicate
func mooncakeGoReplicate(handle C.uintptr_t, asked *C.mc_conductor_asked_t, found *C.mc_conductor_match_t, count C.size_t, copying *C.mc_conductor_copy_t) C.int32_t {
	hook := cgo.Handle(handle).Value().(func(*ConductorAsked, []ConductorMatch, *ConductorCopy) bool)
	return guarded(func() bool {
		told := ConductorCopy{
			uint64(copying.sender), uint64(copying.receiver), uint32(copying.sender_rank), uint32(copying.receiver_rank),
			uint32(copying.from_block), uint32(copying.to_block),
		}
		if !hook(askedOf(asked), matchesOf(unsafe.Slice(found, int(count))), &told) {
			return false
		}
		*copying = C.mc_conductor_copy_t{
			sender: C.mc_conductor_instance_t(told.Sender), receiver: C.mc_conductor_instance_t(told.Receiver),
			sender_rank: C.uint32_t(told.SenderRank), receiver_rank: C.uint32_t(told.ReceiverRank),
			from_block: C.uint32_t(told.From), to_block: C.uint32_t(told.To),
		}
		return true
	})
}

//export mooncakeGoDropHook
func mooncakeGoDropHook(handle C.uintptr_t) { cgo.Handle(handle).Delete() }
