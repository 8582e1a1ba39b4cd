// The conductor's part of the crossing.

package capi

/*
#include "batch.h"
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Conductor names a conductor. The zero value names none.
type Conductor struct{ name *C.mc_conductor_t }

// ConductorCreate calls mc_conductor_create.
func ConductorCreate(from *ConductorOptions) (Conductor, *Failure) {
	if failure := whole(from.Name, from.Policy, from.Admission); failure != nil {
		return Conductor{}, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.mc_conductor_options_default()
	options.name = pinned(&pinner, from.Name)
	options.policy = pinned(&pinner, from.Policy)
	options.admission = pinned(&pinner, from.Admission)
	options.flags = C.uint64_t(from.Flags)
	options.seed = C.uint64_t(from.Seed)
	options.most_in_group = C.uint32_t(from.MostInGroup)
	options.balancing_threshold = C.double(from.BalancingThreshold)
	for i, class := range from.Classes {
		options.classes[i].ttft_seconds = C.double(class.TTFT)
		options.classes[i].tbt_seconds = C.double(class.TBT)
		options.classes[i].load_limit = C.double(class.LoadLimit)
	}
	options.learning = C.double(from.Learning)
	options.fit_after = C.uint32_t(from.FitAfter)
	options.explain_count = C.uint32_t(from.ExplainCount)
	options.decode_seconds = C.double(from.DecodeSeconds)
	options.horizon_seconds = C.double(from.HorizonSeconds)
	options.longest_decode_seconds = C.double(from.LongestDecodeSeconds)
	options.silence_grace_seconds = C.double(from.SilenceGrace)
	options.silence_limit_seconds = C.double(from.SilenceLimit)
	options.failure_seconds = C.double(from.FailureSeconds)
	options.copied_blocks_per_second = C.double(from.CopiedPerSecond)
	options.copied_blocks_at_once = C.double(from.CopiedAtOnce)
	options.uses_per_copy = C.double(from.UsesPerCopy)
	options.promise_seconds = C.double(from.PromiseSeconds)
	options.block_limit = C.uint64_t(from.BlockLimit)
	options.idle_ms = C.uint64_t(from.IdleMs)
	options.context_limit = C.uint64_t(from.ContextLimit)
	options.request_limit = C.uint64_t(from.RequestLimit)
	var conductor Conductor
	failure := createHooked(&options, &from.Hooks, &conductor)
	return conductor, failure
}

// Destroy calls mc_conductor_destroy.
func (c Conductor) Destroy() *Failure {
	return call(func() C.mc_status_t { return C.mc_conductor_destroy(c.name) })
}

// Info calls mc_conductor_get_info.
func (c Conductor) Info() (ConductorInfo, *Failure) {
	raw := C.mc_conductor_info_default()
	failure := call(func() C.mc_status_t { return C.mc_conductor_get_info(c.name, &raw) })
	return ConductorInfo{
		uint64(raw.instance_count), uint64(raw.context_count), uint64(raw.request_count), uint64(raw.block_count),
		uint64(raw.decided_count), uint64(raw.rejected_count),
	}, failure
}

// Sweep calls mc_conductor_sweep.
func (c Conductor) Sweep() *Failure {
	return call(func() C.mc_status_t { return C.mc_conductor_sweep(c.name) })
}

// Snapshot calls mc_conductor_snapshot.
func (c Conductor) Snapshot() ([]byte, *Failure) {
	return output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_conductor_snapshot(c.name, buffer, size, length)
	})
}

// Restore calls mc_conductor_restore.
func (c Conductor) Restore(bytes []byte) (ConductorRestored, *Failure) {
	var raw C.mc_conductor_restored_t
	failure := call(func() C.mc_status_t {
		return C.mc_conductor_restore(c.name, unsafe.Pointer(unsafe.SliceData(bytes)), C.size_t(len(bytes)), &raw)
	})
	return ConductorRestored{uint64(raw.instance_count), uint64(raw.context_count), uint64(raw.block_count)}, failure
}

// Metrics calls mc_conductor_get_metrics.
func (c Conductor) Metrics() (string, *Failure) {
	text, failure := output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_conductor_get_metrics(c.name, (*C.char)(buffer), size, length)
	})
	return string(text), failure
}

// ConductorPreset calls mc_conductor_preset.
func ConductorPreset(model, machine string) (ConductorCost, *Failure) {
	if failure := whole(model, machine); failure != nil {
		return ConductorCost{}, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	raw := C.mc_conductor_cost_default()
	modelName, machineName := pinned(&pinner, model), pinned(&pinner, machine)
	failure := call(func() C.mc_status_t { return C.mc_conductor_preset(modelName, machineName, &raw) })
	return ConductorCost{
		Layers: uint32(raw.layer_count), KVBytesPerToken: float64(raw.kv_bytes_per_token),
		PrefillFixed: float64(raw.prefill_fixed), PrefillLinear: float64(raw.prefill_linear),
		PrefillQuadratic: float64(raw.prefill_quadratic), DecodeFixed: float64(raw.decode_fixed),
		DecodePerRequest: float64(raw.decode_per_request), DecodePerToken: float64(raw.decode_per_token),
		HostRate: float64(raw.host_rate), DiskRate: float64(raw.disk_rate), LinkRate: float64(raw.link_rate),
		KVTokens: uint64(raw.kv_tokens), ChunkTokens: uint64(raw.chunk_tokens),
	}, failure
}

func costOf(from *ConductorCost) C.mc_conductor_cost_t {
	raw := C.mc_conductor_cost_default()
	raw.layer_count = C.uint32_t(from.Layers)
	raw.kv_bytes_per_token = C.double(from.KVBytesPerToken)
	raw.prefill_fixed = C.double(from.PrefillFixed)
	raw.prefill_linear = C.double(from.PrefillLinear)
	raw.prefill_quadratic = C.double(from.PrefillQuadratic)
	raw.decode_fixed = C.double(from.DecodeFixed)
	raw.decode_per_request = C.double(from.DecodePerRequest)
	raw.decode_per_token = C.double(from.DecodePerToken)
	raw.host_rate = C.double(from.HostRate)
	raw.disk_rate = C.double(from.DiskRate)
	raw.link_rate = C.double(from.LinkRate)
	raw.kv_tokens = C.uint64_t(from.KVTokens)
	raw.chunk_tokens = C.uint64_t(from.ChunkTokens)
	return raw
}

// Register calls mc_conductor_register_instance.
func (c Conductor) Register(from *ConductorInstance) (uint64, *Failure) {
	if failure := whole(from.Name, from.Model); failure != nil {
		return 0, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.mc_conductor_instance_options_default()
	options.name = pinned(&pinner, from.Name)
	options.model = pinned(&pinner, from.Model)
	options.role = C.mc_conductor_role_t(from.Role)
	options.block_size = C.uint32_t(from.BlockSize)
	options.rank_count = C.uint32_t(from.Ranks)
	if from.Cost != nil {
		cost := costOf(from.Cost)
		pinner.Pin(&cost)
		options.cost = &cost
	}
	var id C.mc_conductor_instance_t
	failure := call(func() C.mc_status_t { return C.mc_conductor_register_instance(c.name, &options, &id) })
	return uint64(id), failure
}

// named calls f with a name that C may read.
func named(name string, f func(name *C.char) C.mc_status_t) *Failure {
	if failure := whole(name); failure != nil {
		return failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	text := pinnedAlways(&pinner, name)
	return call(func() C.mc_status_t { return f(text) })
}

// Unregister calls mc_conductor_unregister_instance.
func (c Conductor) Unregister(name string) *Failure {
	return named(name, func(text *C.char) C.mc_status_t { return C.mc_conductor_unregister_instance(c.name, text) })
}

// FindInstance calls mc_conductor_find_instance.
func (c Conductor) FindInstance(name string) (uint64, *Failure) {
	var id C.mc_conductor_instance_t
	failure := named(name, func(text *C.char) C.mc_status_t { return C.mc_conductor_find_instance(c.name, text, &id) })
	return uint64(id), failure
}

// Instance calls mc_conductor_get_instance.
func (c Conductor) Instance(id uint64) (ConductorInstanceInfo, *Failure) {
	raw := C.mc_conductor_instance_info_default()
	failure := call(func() C.mc_status_t {
		return C.mc_conductor_get_instance(c.name, C.mc_conductor_instance_t(id), &raw)
	})
	return ConductorInstanceInfo{
		fixed(raw.name[:]), fixed(raw.model[:]), uint32(raw.role), uint32(raw.block_size), uint32(raw.rank_count),
		uint64(raw.age_ms),
	}, failure
}

// Report calls mc_conductor_report.
func (c Conductor) Report(id uint64, rank uint32, from *ConductorReport) *Failure {
	report := C.mc_conductor_report_default()
	report.flags = C.uint64_t(from.Flags)
	report.decoding_requests = C.uint32_t(from.DecodingRequests)
	report.decoding_tokens = C.uint64_t(from.DecodingTokens)
	report.queue_seconds = C.double(from.QueueSeconds)
	report.tbt_seconds = C.double(from.TBTSeconds)
	return call(func() C.mc_status_t {
		return C.mc_conductor_report(c.name, C.mc_conductor_instance_t(id), C.uint32_t(rank), &report)
	})
}

// OpenContext calls mc_conductor_open_context.
func (c Conductor) OpenContext(from *ConductorContext) (uint64, *Failure) {
	failure := whole(from.Model, from.Tenant, from.LoRA, from.Salt, from.PythonHashSeed)
	if failure != nil {
		return 0, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.mc_conductor_context_options_default()
	options.block_size = C.uint32_t(from.BlockSize)
	options.model = pinned(&pinner, from.Model)
	options.tenant = pinned(&pinner, from.Tenant)
	options.lora = pinned(&pinner, from.LoRA)
	options.salt = pinned(&pinner, from.Salt)
	options.hash = C.mc_conductor_hash_t(from.Hash)
	options.hash_seed = C.uint64_t(from.HashSeed)
	if from.HasPythonHashSeed {
		options.python_hash_seed = pinnedAlways(&pinner, from.PythonHashSeed)
	}
	var id C.mc_conductor_context_t
	failure = call(func() C.mc_status_t { return C.mc_conductor_open_context(c.name, &options, &id) })
	return uint64(id), failure
}

// CloseContext calls mc_conductor_close_context.
func (c Conductor) CloseContext(id uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_conductor_close_context(c.name, C.mc_conductor_context_t(id)) })
}

func keysOf(pinner *runtime.Pinner, keys []uint64) *C.uint64_t {
	if len(keys) == 0 {
		return nil
	}
	pinner.Pin(&keys[0])
	return (*C.uint64_t)(unsafe.Pointer(&keys[0]))
}

// Apply calls mc_conductor_apply.
func (c Conductor) Apply(context uint64, events []ConductorEvent) (applied, unknown uint64, failure *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	raw := make([]C.mc_conductor_event_t, len(events)+1)
	for i := range events {
		from := &events[i]
		raw[i].instance = C.mc_conductor_instance_t(from.Instance)
		raw[i].rank = C.uint32_t(from.Rank)
		raw[i].change = C.mc_conductor_change_t(from.Change)
		raw[i].tier = C.mc_conductor_tier_t(from.Tier)
		raw[i].keys = keysOf(&pinner, from.Keys)
		raw[i].key_count = C.size_t(len(from.Keys))
	}
	var out C.mc_conductor_applied_t
	failure = call(func() C.mc_status_t {
		return C.mc_conductor_apply(c.name, C.mc_conductor_context_t(context), &raw[0], C.size_t(len(events)), &out)
	})
	return uint64(out.applied_count), uint64(out.unknown_count), failure
}

// Clear calls mc_conductor_clear.
func (c Conductor) Clear(id uint64, rank uint32) *Failure {
	return call(func() C.mc_status_t {
		return C.mc_conductor_clear(c.name, C.mc_conductor_instance_t(id), C.uint32_t(rank))
	})
}

// Hash calls mc_conductor_hash.
func (c Conductor) Hash(context uint64, tokens []uint32) ([]uint64, *Failure) {
	keys := make([]uint64, len(tokens)/16+1)
	for {
		var count C.size_t
		failure := call(func() C.mc_status_t {
			return C.mc_conductor_hash(c.name, C.mc_conductor_context_t(context),
				(*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(tokens))), C.size_t(len(tokens)),
				(*C.uint64_t)(unsafe.Pointer(&keys[0])), C.size_t(len(keys)), &count)
		})
		if failure == nil {
			return keys[:count], nil
		}
		if failure.Code != C.MC_ERR_BUFFER_TOO_SMALL {
			return nil, failure
		}
		keys = make([]uint64, count)
	}
}

func promptOf(pinner *runtime.Pinner, tokens []uint32, keys []uint64) C.mc_conductor_prompt_t {
	var prompt C.mc_conductor_prompt_t
	if len(tokens) > 0 {
		pinner.Pin(&tokens[0])
		prompt.tokens = (*C.uint32_t)(unsafe.Pointer(&tokens[0]))
	}
	prompt.token_count = C.size_t(len(tokens))
	prompt.keys = keysOf(pinner, keys)
	prompt.key_count = C.size_t(len(keys))
	return prompt
}

// Match calls mc_conductor_match.
func (c Conductor) Match(context uint64, tokens []uint32, keys []uint64) ([]ConductorMatch, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	prompt := promptOf(&pinner, tokens, keys)
	raw := make([]C.mc_conductor_match_t, 64)
	for {
		var count C.size_t
		failure := call(func() C.mc_status_t {
			return C.mc_conductor_match(c.name, C.mc_conductor_context_t(context), &prompt, &raw[0], C.size_t(len(raw)), &count)
		})
		if failure == nil {
			raw = raw[:count]
			break
		}
		if failure.Code != C.MC_ERR_BUFFER_TOO_SMALL {
			return nil, failure
		}
		raw = make([]C.mc_conductor_match_t, count)
	}
	return matchesOf(raw), nil
}

func matchesOf(raw []C.mc_conductor_match_t) []ConductorMatch {
	found := make([]ConductorMatch, len(raw))
	for i := range raw {
		found[i] = ConductorMatch{
			Instance: uint64(raw[i].instance), Rank: uint32(raw[i].rank), Promised: uint32(raw[i].promised_blocks),
		}
		for tier := range found[i].Blocks {
			found[i].Blocks[tier] = uint32(raw[i].blocks[tier])
		}
	}
	return found
}

func requestOf(pinner *runtime.Pinner, from *ConductorRequest) (C.mc_conductor_request_t, *Failure) {
	request := C.mc_conductor_request_default()
	if failure := whole(from.Name); failure != nil {
		return request, failure
	}
	request.context = C.mc_conductor_context_t(from.Context)
	request.prompt = promptOf(pinner, from.Tokens, from.Keys)
	request.input_tokens = C.uint64_t(from.InputTokens)
	request.output_tokens = C.uint32_t(from.OutputTokens)
	request.priority = C.uint32_t(from.Priority)
	request.service_class = C.uint32_t(from.ServiceClass)
	request.name = pinned(pinner, from.Name)
	return request, nil
}

func rejectionOf(raw *C.mc_conductor_rejection_t) ConductorRejection {
	return ConductorRejection{
		uint32(raw.reason), uint32(raw.retry_after_ms), float64(raw.load), float64(raw.load_limit),
	}
}

// Schedule calls mc_conductor_schedule.
func (c Conductor) Schedule(from *ConductorRequest) (ConductorDecision, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	request, failure := requestOf(&pinner, from)
	if failure != nil {
		return ConductorDecision{}, failure
	}
	raw := C.mc_conductor_decision_default()
	failure = call(func() C.mc_status_t { return C.mc_conductor_schedule(c.name, &request, &raw) })
	if failure != nil {
		return ConductorDecision{}, failure
	}
	decision := ConductorDecision{
		Verdict: uint32(raw.verdict), Request: uint64(raw.request), Prefill: uint64(raw.prefill),
		Decode: uint64(raw.decode), Source: uint64(raw.source), PrefillRank: uint32(raw.prefill_rank),
		DecodeRank: uint32(raw.decode_rank), SourceRank: uint32(raw.source_rank), SourceKind: uint32(raw.source_kind),
		PrefillName: fixed(raw.prefill_name[:]), DecodeName: fixed(raw.decode_name[:]),
		Blocks: uint32(raw.block_count), Reused: uint32(raw.reused_blocks), Moved: uint32(raw.moved_blocks),
		Advised: raw.is_advised != 0, ComputedTokens: uint64(raw.computed_tokens), Queue: float64(raw.queue_seconds),
		Transfer: float64(raw.transfer_seconds), Compute: float64(raw.compute_seconds),
		TTFT: float64(raw.ttft_seconds), TBT: float64(raw.tbt_seconds), Rejection: rejectionOf(&raw.rejection),
	}
	for i := 0; i < int(raw.group_count); i++ {
		decision.Group = append(decision.Group, uint64(raw.group[i]))
		decision.GroupRanks = append(decision.GroupRanks, uint32(raw.group_ranks[i]))
	}
	return decision, nil
}

// Recheck calls mc_conductor_recheck.
func (c Conductor) Recheck(request uint64) (ConductorRejection, *Failure) {
	var raw C.mc_conductor_rejection_t
	failure := call(func() C.mc_status_t {
		return C.mc_conductor_recheck(c.name, C.mc_conductor_request_id_t(request), &raw)
	})
	return rejectionOf(&raw), failure
}

// FindRequest calls mc_conductor_find_request.
func (c Conductor) FindRequest(name string) (uint64, *Failure) {
	var id C.mc_conductor_request_id_t
	failure := named(name, func(text *C.char) C.mc_status_t { return C.mc_conductor_find_request(c.name, text, &id) })
	return uint64(id), failure
}

// Feedback calls mc_conductor_feedback.
func (c Conductor) Feedback(request uint64, what uint32) *Failure {
	return call(func() C.mc_status_t {
		return C.mc_conductor_feedback(c.name, C.mc_conductor_request_id_t(request), C.mc_conductor_feedback_t(what))
	})
}

// Explain calls mc_conductor_explain.
func (c Conductor) Explain(request uint64) (string, *Failure) {
	text, failure := output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_conductor_explain(c.name, C.mc_conductor_request_id_t(request), (*C.char)(buffer), size, length)
	})
	return string(text), failure
}

// ExplainRequest calls mc_conductor_explain_request.
func (c Conductor) ExplainRequest(from *ConductorRequest) (string, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	request, failure := requestOf(&pinner, from)
	if failure != nil {
		return "", failure
	}
	text, failure := output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_conductor_explain_request(c.name, &request, (*C.char)(buffer), size, length)
	})
	return string(text), failure
}

// TakeAdvice calls mc_conductor_take_advice.
func (c Conductor) TakeAdvice() (ConductorAdvice, *Failure) {
	keys := make([]uint64, 64)
	for {
		var raw C.mc_conductor_copy_t
		var context C.mc_conductor_context_t
		var count C.size_t
		failure := call(func() C.mc_status_t {
			return C.mc_conductor_take_advice(c.name, &raw, &context, (*C.uint64_t)(unsafe.Pointer(&keys[0])),
				C.size_t(len(keys)), &count)
		})
		if failure == nil {
			return ConductorAdvice{
				uint64(raw.sender), uint64(raw.receiver), uint64(context), uint32(raw.sender_rank),
				uint32(raw.receiver_rank), uint32(raw.from_block), keys[:count],
			}, nil
		}
		if failure.Code != C.MC_ERR_BUFFER_TOO_SMALL {
			return ConductorAdvice{}, failure
		}
		keys = make([]uint64, count)
	}
}
