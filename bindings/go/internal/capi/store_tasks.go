// The store's part of the crossing: lists, replicas, quotas, masters and nodes.

package capi

/*
#include "store.h"
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// matching is a prefix and a regular expression for the length of one call.
func matching(pinner *runtime.Pinner, prefix, regex string) (unsafe.Pointer, C.size_t, *C.char, *Failure) {
	if failure := whole(regex); failure != nil {
		return nil, 0, nil, failure
	}
	name, length := keyOf(prefix)
	return name, length, pinned(pinner, regex), nil
}

// RemoveMatching calls mc_store_remove_matching.
func (s Store) RemoveMatching(prefix, regex string, flags uint64, timeoutMs int64) (removed, busy uint64, failure *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	name, length, pattern, failure := matching(&pinner, prefix, regex)
	if failure != nil {
		return 0, 0, failure
	}
	var gone, left C.uint64_t
	failure = call(func() C.mc_status_t {
		return C.mc_store_remove_matching(s.name, name, length, pattern, C.uint64_t(flags), C.int64_t(timeoutMs), &gone, &left)
	})
	return uint64(gone), uint64(left), failure
}

// List calls mc_store_list; the cursor is 0 at the begin and at the end.
func (s Store) List(prefix, regex string, cursor uint64, limit int, timeoutMs int64) ([]StoreObject, uint64, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	name, length, pattern, failure := matching(&pinner, prefix, regex)
	if failure != nil {
		return nil, 0, failure
	}
	raw := make([]C.mc_store_listed_t, limit)
	at := C.uint64_t(cursor)
	var count C.size_t
	failure = call(func() C.mc_status_t {
		return C.mc_store_list(s.name, name, length, pattern, C.int64_t(timeoutMs), &at, unsafe.SliceData(raw), C.size_t(limit), &count)
	})
	if failure != nil {
		return nil, 0, failure
	}
	objects := make([]StoreObject, count)
	for i := range objects {
		one := &raw[i]
		key := unsafe.Slice((*byte)(unsafe.Pointer(&one.key[0])), one.key_length)
		objects[i] = StoreObject{string(key), uint64(one.size), uint64(one.version), uint32(one.replica_count)}
	}
	return objects, uint64(at), nil
}

// Copy calls mc_store_copy, or mc_store_move where a segment is named.
func (s Store) Copy(key, segment string, preferred []string, timeoutMs int64) (uint64, *Failure) {
	if failure := whole(append([]string{segment}, preferred...)...); failure != nil {
		return 0, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	list := names(&pinner, preferred)
	leave := pinned(&pinner, segment)
	name, length := keyOf(key)
	var task C.mc_store_task_t
	failure := call(func() C.mc_status_t {
		if leave != nil {
			return C.mc_store_move(s.name, name, length, leave, list, C.size_t(len(preferred)), C.int64_t(timeoutMs), &task)
		}
		return C.mc_store_copy(s.name, name, length, list, C.size_t(len(preferred)), C.int64_t(timeoutMs), &task)
	})
	return uint64(task), failure
}

// Trim calls mc_store_trim.
func (s Store) Trim(key string, keep uint32, timeoutMs int64) (uint64, *Failure) {
	name, length := keyOf(key)
	var trimmed C.uint64_t
	failure := call(func() C.mc_status_t {
		return C.mc_store_trim(s.name, name, length, C.uint32_t(keep), C.int64_t(timeoutMs), &trimmed)
	})
	return uint64(trimmed), failure
}

// Drain calls mc_store_drain.
func (s Store) Drain(segment string, timeoutMs int64) (uint64, *Failure) {
	text, failure := tagPointer(&segment)
	if failure != nil {
		return 0, failure
	}
	var task C.mc_store_task_t
	failure = call(func() C.mc_status_t { return C.mc_store_drain(s.name, text, C.int64_t(timeoutMs), &task) })
	return uint64(task), failure
}

// TaskInfo calls mc_store_task_get_info.
func (s Store) TaskInfo(task uint64, timeoutMs int64) (StoreTask, *Failure) {
	raw := C.mc_store_task_info_default()
	failure := call(func() C.mc_status_t {
		return C.mc_store_task_get_info(s.name, C.mc_store_task_t(task), C.int64_t(timeoutMs), &raw)
	})
	return StoreTask{
		State: uint32(raw.state), Status: int32(raw.status), RetryAfterMs: uint32(raw.retry_after_ms),
		MovedObjects: uint64(raw.moved_objects), MovedBytes: uint64(raw.moved_bytes),
	}, failure
}

// CancelTask calls mc_store_task_cancel.
func (s Store) CancelTask(task uint64, timeoutMs int64) *Failure {
	return call(func() C.mc_status_t {
		return C.mc_store_task_cancel(s.name, C.mc_store_task_t(task), C.int64_t(timeoutMs))
	})
}

// SetQuota calls mc_store_set_quota; a nil tenant is the store's own.
func (s Store) SetQuota(tenant *string, bytes uint64, timeoutMs int64) *Failure {
	text, failure := tagPointer(tenant)
	if failure != nil {
		return failure
	}
	return call(func() C.mc_status_t {
		return C.mc_store_set_quota(s.name, text, C.uint64_t(bytes), C.int64_t(timeoutMs))
	})
}

// Usage calls mc_store_get_usage; a nil tenant is the store's own.
func (s Store) Usage(tenant *string, timeoutMs int64) (StoreUsage, *Failure) {
	text, failure := tagPointer(tenant)
	if failure != nil {
		return StoreUsage{}, failure
	}
	raw := C.mc_store_usage_default()
	failure = call(func() C.mc_status_t { return C.mc_store_get_usage(s.name, text, C.int64_t(timeoutMs), &raw) })
	return StoreUsage{uint64(raw.used_bytes), uint64(raw.quota_bytes), uint64(raw.object_count)}, failure
}

// Segments calls mc_store_list_segments.
func (s Store) Segments(timeoutMs int64) ([]StoreSegment, *Failure) {
	raw := make([]C.mc_store_segment_t, 16)
	for {
		var count C.size_t
		failure := call(func() C.mc_status_t {
			return C.mc_store_list_segments(s.name, C.int64_t(timeoutMs), &raw[0], C.size_t(len(raw)), &count)
		})
		if failure != nil && failure.Code == C.MC_ERR_BUFFER_TOO_SMALL {
			raw = make([]C.mc_store_segment_t, count)
			continue
		}
		if failure != nil {
			return nil, failure
		}
		segments := make([]StoreSegment, count)
		for i := range segments {
			r := &raw[i]
			segments[i] = StoreSegment{
				fixed(r.name[:]), uint64(r.node), uint64(r.capacity), uint64(r.used), bool(r.is_open), bool(r.is_draining),
			}
		}
		return segments, nil
	}
}

// Master names a master. The zero value names none.
type Master struct{ name *C.mc_master_t }

// MasterCreate calls mc_master_create.
func MasterCreate(from MasterOptions) (Master, *Failure) {
	if failure := whole(from.Listen, from.Eviction); failure != nil {
		return Master{}, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.mc_master_options_default()
	options.flags = C.uint64_t(from.Flags)
	options.listen = pinned(&pinner, from.Listen)
	options.psk, options.psk_length = secret(&pinner, from.PSK)
	options.worker_threads = C.uint32_t(from.WorkerThreads)
	options.eviction = pinned(&pinner, from.Eviction)
	options.default_quota_bytes = C.uint64_t(from.DefaultQuotaBytes)
	var master Master
	failure := call(func() C.mc_status_t { return C.mc_master_create(&options, &master.name) })
	return master, failure
}

// Destroy calls mc_master_destroy.
func (m Master) Destroy() *Failure {
	return call(func() C.mc_status_t { return C.mc_master_destroy(m.name) })
}

// Info calls mc_master_get_info.
func (m Master) Info() (MasterInfo, *Failure) {
	raw := C.mc_master_info_default()
	failure := call(func() C.mc_status_t { return C.mc_master_get_info(m.name, &raw) })
	return MasterInfo{
		Address: fixed(raw.address[:]), IsServing: bool(raw.is_serving), Objects: uint64(raw.object_count),
		UsedBytes: uint64(raw.used_bytes), CapacityBytes: uint64(raw.capacity_bytes),
		Evicted: uint64(raw.evicted_count), EvictedBytes: uint64(raw.evicted_bytes),
	}, failure
}

// Node names a node. The zero value names none.
type Node struct{ name *C.mc_node_t }

// NodeCreate calls mc_node_create.
func NodeCreate(from NodeOptions) (Node, *Failure) {
	if failure := whole(from.Masters, from.Listen, from.Name, from.Domain); failure != nil {
		return Node{}, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.mc_node_options_default()
	options.flags = C.uint64_t(from.Flags)
	options.masters = pinned(&pinner, from.Masters)
	options.listen = pinned(&pinner, from.Listen)
	options.psk, options.psk_length = secret(&pinner, from.PSK)
	options.memory_bytes = C.uint64_t(from.MemoryBytes)
	options.name = pinned(&pinner, from.Name)
	options.domain = pinned(&pinner, from.Domain)
	var node Node
	failure := call(func() C.mc_status_t { return C.mc_node_create(&options, &node.name) })
	return node, failure
}

// Destroy calls mc_node_destroy.
func (n Node) Destroy() *Failure {
	return call(func() C.mc_status_t { return C.mc_node_destroy(n.name) })
}

// Drain calls mc_node_drain.
func (n Node) Drain(graceMs int64) *Failure {
	return call(func() C.mc_status_t { return C.mc_node_drain(n.name, C.int64_t(graceMs)) })
}

// Info calls mc_node_get_info.
func (n Node) Info() (NodeInfo, *Failure) {
	raw := C.mc_node_info_default()
	failure := call(func() C.mc_status_t { return C.mc_node_get_info(n.name, &raw) })
	return NodeInfo{
		Address: fixed(raw.address[:]), ID: uint64(raw.id), IsLed: bool(raw.is_led), Clients: uint32(raw.client_count),
		CapacityBytes: uint64(raw.capacity_bytes), HeldBytes: uint64(raw.held_bytes),
		QuarantinedBytes: uint64(raw.quarantined_bytes), FreeBytes: uint64(raw.free_bytes),
	}, failure
}
