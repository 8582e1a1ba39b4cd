// Package capi is the one place that calls C: each function is one crossing and speaks in plain Go types.
//
// Nothing that it passes is kept by C after the call, except the memory that a caller registers.
package capi

/*
#cgo pkg-config: mooncake
#include "batch.h"
#include "log.h"
*/
import "C"

import (
	"runtime"
	"strings"
	"sync/atomic"
	"unsafe"
)

// call runs f on one OS thread, so that the message read after it belongs to it.
func call(f func() C.mc_status_t) *Failure {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if status := f(); status != C.MC_OK {
		return &Failure{int32(status), C.GoString(C.mc_last_error_message())}
	}
	return nil
}

// StatusName returns the name of a status, such as "TIMEOUT".
func StatusName(code int32) string { return C.GoString(C.mc_status_name(C.mc_status_t(code))) }

// StatusText returns one sentence about a status.
func StatusText(code int32) string { return C.GoString(C.mc_status_text(C.mc_status_t(code))) }

// StatusIsRetryable tells whether the same call may succeed later.
func StatusIsRetryable(code int32) bool { return bool(C.mc_status_is_retryable(C.mc_status_t(code))) }

// Version returns the version of the loaded library.
func Version() string { return C.GoString(C.mc_version()) }

// pinned copies a text to where C may read it until the pinner lets go; "" is NULL.
func pinned(pinner *runtime.Pinner, text string) *C.char {
	if text == "" {
		return nil
	}
	return pinnedAlways(pinner, text)
}

func pinnedAlways(pinner *runtime.Pinner, text string) *C.char {
	bytes := append([]byte(text), 0)
	pinner.Pin(&bytes[0])
	return (*C.char)(unsafe.Pointer(&bytes[0]))
}

// whole refuses texts that C would cut at a NUL.
func whole(texts ...string) *Failure {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 {
			return &Failure{C.MC_ERR_INVALID_ARGUMENT, "a text contains a NUL character"}
		}
	}
	return nil
}

// fixed reads a NUL-terminated text out of a struct.
func fixed(text []C.char) string { return C.GoString(&text[0]) }

// output calls f with a buffer that grows until what it writes fits.
func output(f func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t) ([]byte, *Failure) {
	buffer := make([]byte, 512)
	for {
		var length C.size_t
		failure := call(func() C.mc_status_t {
			return f(unsafe.Pointer(&buffer[0]), C.size_t(len(buffer)), &length)
		})
		if failure == nil {
			return buffer[:length], nil
		}
		if failure.Code != C.MC_ERR_BUFFER_TOO_SMALL {
			return nil, failure
		}
		buffer = make([]byte, length+1) // one more, for the NUL of texts
	}
}

// Engine names an engine. The zero value names none.
type Engine struct{ name *C.mc_engine_t }

// EngineCreate calls mc_engine_create.
func EngineCreate(from EngineOptions) (Engine, *Failure) {
	failure := whole(from.Name, from.BindAddress, from.NetworkInterface, from.CIDR, from.Transports, from.Metadata, from.ConfigFile, from.AdvertiseHost, from.MetadataCluster)
	if failure != nil {
		return Engine{}, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.mc_engine_options_default()
	options.flags = C.uint64_t(from.Flags)
	options.name = pinned(&pinner, from.Name)
	options.bind_address = pinned(&pinner, from.BindAddress)
	options.network_interface = pinned(&pinner, from.NetworkInterface)
	options.cidr = pinned(&pinner, from.CIDR)
	options.port = C.uint16_t(from.Port)
	options.port_last = C.uint16_t(from.PortLast)
	options.lanes = C.uint32_t(from.Lanes)
	options.worker_threads = C.uint32_t(from.WorkerThreads)
	options.checksum = C.mc_checksum_t(from.Checksum)
	options.transports = pinned(&pinner, from.Transports)
	options.default_deadline_ms = C.uint64_t(from.DefaultDeadlineMs)
	options.keepalive_ms = C.uint64_t(from.KeepaliveMs)
	if len(from.PSK) > 0 {
		pinner.Pin(&from.PSK[0])
		options.psk = unsafe.Pointer(&from.PSK[0])
		options.psk_length = C.size_t(len(from.PSK))
	}
	options.metadata = pinned(&pinner, from.Metadata)
	options.config_file = pinned(&pinner, from.ConfigFile)
	options.queue_limit = C.uint64_t(from.QueueLimit)
	options.compat = C.mc_compat_t(from.Compat)
	options.advertise_host = pinned(&pinner, from.AdvertiseHost)
	options.metadata_cluster = pinned(&pinner, from.MetadataCluster)
	var engine Engine
	failure = call(func() C.mc_status_t { return C.mc_engine_create(&options, &engine.name) })
	return engine, failure
}

// Destroy calls mc_engine_destroy.
func (e Engine) Destroy() *Failure {
	return call(func() C.mc_status_t { return C.mc_engine_destroy(e.name) })
}

// Drain calls mc_engine_drain.
func (e Engine) Drain(timeoutMs int64) *Failure {
	return call(func() C.mc_status_t { return C.mc_engine_drain(e.name, C.int64_t(timeoutMs)) })
}

// Info calls mc_engine_get_info.
func (e Engine) Info() (EngineInfo, *Failure) {
	raw := C.mc_engine_info_default()
	failure := call(func() C.mc_status_t { return C.mc_engine_get_info(e.name, &raw) })
	return EngineInfo{
		Name: fixed(raw.name[:]), Address: fixed(raw.address[:]), EngineID: fixed(raw.engine_id[:]),
		Transports: fixed(raw.transports[:]), Port: uint32(raw.port), Lanes: uint32(raw.lanes),
		WorkerThreads: uint32(raw.worker_threads), LocalSegment: uint64(raw.local_segment),
		RegionCount: uint64(raw.region_count), RegisteredBytes: uint64(raw.registered_bytes),
		SegmentCount: uint64(raw.segment_count), BatchCount: uint64(raw.batch_count), NotifyCount: uint64(raw.notify_count),
	}, failure
}

// Stats calls mc_engine_get_stats.
func (e Engine) Stats() (EngineStats, *Failure) {
	raw := C.mc_engine_stats_default()
	failure := call(func() C.mc_status_t { return C.mc_engine_get_stats(e.name, &raw) })
	path := func(p C.mc_path_stats_t) PathStats {
		return PathStats{uint64(p.read_bytes), uint64(p.written_bytes), uint64(p.served_read_bytes), uint64(p.served_written_bytes)}
	}
	return EngineStats{
		Local: path(raw.local), Memfd: path(raw.memfd), CMA: path(raw.cma), TCP: path(raw.tcp),
		Batches: uint64(raw.batch_count), Completed: uint64(raw.completed_count), Failed: uint64(raw.failed_count),
		Retries: uint64(raw.retry_count), Corrupted: uint64(raw.corrupted_count), Accepted: uint64(raw.accepted_count),
		Refused: uint64(raw.refused_count), Wakeups: uint64(raw.wakeup_count), Notifications: uint64(raw.notify_count),
	}, failure
}

// Config calls mc_engine_get_config.
func (e Engine) Config() ([]byte, *Failure) {
	return output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_engine_get_config(e.name, (*C.char)(buffer), size, length)
	})
}

// Metrics calls mc_engine_get_metrics.
func (e Engine) Metrics() ([]byte, *Failure) {
	return output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_engine_get_metrics(e.name, (*C.char)(buffer), size, length)
	})
}

// Export calls mc_engine_export.
func (e Engine) Export(regions []uint64) ([]byte, *Failure) {
	first := (*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(regions)))
	return output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_engine_export(e.name, first, C.size_t(len(regions)), buffer, size, length)
	})
}

// HostReport calls mc_host_get_report.
func HostReport() ([]byte, *Failure) {
	return output(func(buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.mc_status_t {
		return C.mc_host_get_report((*C.char)(buffer), size, length)
	})
}

func memoryOptions(pinner *runtime.Pinner, flags uint64, location string) C.mc_memory_options_t {
	options := C.mc_memory_options_default()
	options.flags = C.uint64_t(flags)
	options.location = pinned(pinner, location)
	return options
}

// Register calls mc_memory_register.
func (e Engine) Register(address unsafe.Pointer, length int, flags uint64, location string) (uint64, *Failure) {
	if failure := whole(location); failure != nil {
		return 0, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := memoryOptions(&pinner, flags, location)
	var region C.mc_region_t
	failure := call(func() C.mc_status_t {
		return C.mc_memory_register(e.name, address, C.size_t(length), &options, &region)
	})
	return uint64(region), failure
}

// Allocate calls mc_memory_allocate.
func (e Engine) Allocate(length int, flags uint64, location string) (unsafe.Pointer, uint64, *Failure) {
	if failure := whole(location); failure != nil {
		return nil, 0, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := memoryOptions(&pinner, flags, location)
	var address unsafe.Pointer
	var region C.mc_region_t
	failure := call(func() C.mc_status_t {
		return C.mc_memory_allocate(e.name, C.size_t(length), &options, &address, &region)
	})
	return address, uint64(region), failure
}

// Unregister calls mc_memory_unregister.
func (e Engine) Unregister(region, flags uint64) *Failure {
	return call(func() C.mc_status_t {
		return C.mc_memory_unregister(e.name, C.mc_region_t(region), C.uint64_t(flags))
	})
}

// Free calls mc_memory_free.
func (e Engine) Free(region, flags uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_memory_free(e.name, C.mc_region_t(region), C.uint64_t(flags)) })
}

// MemoryInfo calls mc_memory_get_info.
func (e Engine) MemoryInfo(region uint64) (MemoryInfo, *Failure) {
	raw := C.mc_memory_info_default()
	failure := call(func() C.mc_status_t { return C.mc_memory_get_info(e.name, C.mc_region_t(region), &raw) })
	return MemoryInfo{
		Address: uintptr(raw.address), Length: uint64(raw.length), Flags: uint64(raw.flags), UseCount: uint64(raw.use_count),
		ReferenceCount: uint32(raw.reference_count), IsAllocated: bool(raw.is_allocated), Location: fixed(raw.location[:]),
	}, failure
}

// Open calls mc_segment_open.
func (e Engine) Open(name string, timeoutMs int64) (uint64, *Failure) {
	if failure := whole(name); failure != nil {
		return 0, failure
	}
	text := append([]byte(name), 0)
	var segment C.mc_segment_t
	failure := call(func() C.mc_status_t {
		return C.mc_segment_open(e.name, (*C.char)(unsafe.Pointer(&text[0])), C.int64_t(timeoutMs), &segment)
	})
	return uint64(segment), failure
}

// Import calls mc_segment_import.
func (e Engine) Import(blob []byte) (uint64, *Failure) {
	var segment C.mc_segment_t
	failure := call(func() C.mc_status_t {
		return C.mc_segment_import(e.name, unsafe.Pointer(unsafe.SliceData(blob)), C.size_t(len(blob)), &segment)
	})
	return uint64(segment), failure
}

// CloseSegment calls mc_segment_close.
func (e Engine) CloseSegment(segment uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_segment_close(e.name, C.mc_segment_t(segment)) })
}

// SegmentInfo calls mc_segment_get_info.
func (e Engine) SegmentInfo(segment uint64) (SegmentInfo, *Failure) {
	raw := C.mc_segment_info_default()
	failure := call(func() C.mc_status_t { return C.mc_segment_get_info(e.name, C.mc_segment_t(segment), &raw) })
	return SegmentInfo{
		Name: fixed(raw.name[:]), Address: fixed(raw.address[:]), EngineID: fixed(raw.engine_id[:]), Path: fixed(raw.path[:]),
		RegionCount: uint32(raw.region_count), TotalBytes: uint64(raw.total_bytes), IsImported: bool(raw.is_imported),
	}, failure
}

// ListRegions calls mc_segment_list_regions.
func (e Engine) ListRegions(segment uint64) ([]RemoteRegion, *Failure) {
	raw := make([]C.mc_remote_region_t, 16)
	for {
		var count C.size_t
		failure := call(func() C.mc_status_t {
			return C.mc_segment_list_regions(e.name, C.mc_segment_t(segment), &raw[0], C.size_t(len(raw)), &count)
		})
		if failure != nil && failure.Code == C.MC_ERR_BUFFER_TOO_SMALL {
			raw = make([]C.mc_remote_region_t, count)
			continue
		}
		if failure != nil {
			return nil, failure
		}
		regions := make([]RemoteRegion, count)
		for i := range regions {
			r := &raw[i]
			regions[i] = RemoteRegion{uint64(r.address), uint64(r.length), uint64(r.flags), fixed(r.path[:]), fixed(r.location[:])}
		}
		return regions, nil
	}
}

// Refresh calls mc_segment_refresh.
func (e Engine) Refresh(segment uint64, timeoutMs int64) *Failure {
	return call(func() C.mc_status_t {
		return C.mc_segment_refresh(e.name, C.mc_segment_t(segment), C.int64_t(timeoutMs))
	})
}

// Probe calls mc_segment_probe.
func (e Engine) Probe(segment uint64, timeoutMs int64) (Probe, *Failure) {
	raw := C.mc_probe_default()
	failure := call(func() C.mc_status_t {
		return C.mc_segment_probe(e.name, C.mc_segment_t(segment), C.int64_t(timeoutMs), &raw)
	})
	return Probe{
		IsAlive: bool(raw.is_alive), HasRestarted: bool(raw.has_restarted), Lanes: uint32(raw.lanes),
		SinceMs: uint64(raw.since_ms), RoundTripNs: uint64(raw.round_trip_ns),
		Path: fixed(raw.path[:]), EngineID: fixed(raw.engine_id[:]),
	}, failure
}

func batchOptions(pinner *runtime.Pinner, from *BatchOptions) C.mc_batch_options_t {
	options := C.mc_batch_options_default()
	options.priority = C.mc_priority_t(from.Priority)
	options.flags = C.uint64_t(from.Flags)
	options.deadline_ms = C.uint64_t(from.DeadlineMs)
	options.cq = C.mc_cq_t(from.Queue)
	options.user_data = C.uint64_t(from.UserData)
	if from.Notify {
		options.notify_tag = pinnedAlways(pinner, from.NotifyTag)
		if len(from.NotifyData) > 0 {
			pinner.Pin(&from.NotifyData[0])
			options.notify_data = unsafe.Pointer(&from.NotifyData[0])
			options.notify_length = C.size_t(len(from.NotifyData))
		}
		options.notify_segment = C.mc_segment_t(from.NotifySegment)
	}
	return options
}

// Submit calls mc_batch_submit, or mc_batch_prepare, once for all requests.
func (e Engine) Submit(requests []Request, pieces []Piece, from *BatchOptions, prepare bool) (uint64, *Failure) {
	if failure := whole(from.NotifyTag); failure != nil {
		return 0, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := batchOptions(&pinner, from)
	first := (*C.go_request_t)(unsafe.Pointer(unsafe.SliceData(requests)))
	firstPiece := (*C.go_piece_t)(unsafe.Pointer(unsafe.SliceData(pieces)))
	var batch C.mc_batch_t
	failure := call(func() C.mc_status_t {
		if prepare {
			return C.go_prepare(e.name, first, C.size_t(len(requests)), firstPiece, &options, &batch)
		}
		return C.go_submit(e.name, first, C.size_t(len(requests)), firstPiece, &options, &batch)
	})
	return uint64(batch), failure
}

// Post calls mc_batch_post.
func (e Engine) Post(batch uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_batch_post(e.name, C.mc_batch_t(batch)) })
}

// Poll calls mc_batch_poll.
func (e Engine) Poll(batch uint64) (BatchInfo, *Failure) {
	raw := C.mc_batch_info_default()
	failure := call(func() C.mc_status_t { return C.mc_batch_poll(e.name, C.mc_batch_t(batch), &raw) })
	return BatchInfo{
		bool(raw.is_done), int32(raw.status),
		uint64(raw.request_count), uint64(raw.completed_count), uint64(raw.failed_count), uint64(raw.completed_bytes),
	}, failure
}

// Wait calls mc_batch_wait.
func (e Engine) Wait(batch uint64, timeoutMs int64) *Failure {
	return call(func() C.mc_status_t {
		return C.mc_batch_wait(e.name, C.mc_batch_t(batch), C.int64_t(timeoutMs), nil)
	})
}

// Cancel calls mc_batch_cancel.
func (e Engine) Cancel(batch uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_batch_cancel(e.name, C.mc_batch_t(batch)) })
}

// Release calls mc_batch_release.
func (e Engine) Release(batch uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_batch_release(e.name, C.mc_batch_t(batch)) })
}

// What Go and C lay out alike must have the same size: these arrays have a negative length otherwise.
var (
	_ [unsafe.Sizeof(Completion{}) - C.sizeof_mc_completion_t]struct{}
	_ [C.sizeof_mc_completion_t - unsafe.Sizeof(Completion{})]struct{}
	_ [unsafe.Sizeof(Request{}) - C.sizeof_go_request_t]struct{}
	_ [C.sizeof_go_request_t - unsafe.Sizeof(Request{})]struct{}
	_ [unsafe.Sizeof(Piece{}) - C.sizeof_mc_span_t]struct{}
	_ [C.sizeof_mc_span_t - unsafe.Sizeof(Piece{})]struct{}
)

// Task calls mc_batch_task.
func (e Engine) Task(batch uint64, index int, out *Completion) *Failure {
	return call(func() C.mc_status_t {
		return C.mc_batch_task(e.name, C.mc_batch_t(batch), C.size_t(index), (*C.mc_completion_t)(unsafe.Pointer(out)))
	})
}

// CreateQueue calls mc_cq_create.
func (e Engine) CreateQueue(capacity uint32) (uint64, *Failure) {
	options := C.mc_cq_options_default()
	options.capacity = C.uint32_t(capacity)
	var queue C.mc_cq_t
	failure := call(func() C.mc_status_t { return C.mc_cq_create(e.name, &options, &queue) })
	return uint64(queue), failure
}

// DestroyQueue calls mc_cq_destroy.
func (e Engine) DestroyQueue(queue uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_cq_destroy(e.name, C.mc_cq_t(queue)) })
}

// PollQueue calls mc_cq_poll.
func (e Engine) PollQueue(queue uint64, completions []Completion) (int, *Failure) {
	first := (*C.mc_completion_t)(unsafe.Pointer(unsafe.SliceData(completions)))
	var count C.size_t
	failure := call(func() C.mc_status_t {
		return C.mc_cq_poll(e.name, C.mc_cq_t(queue), first, C.size_t(len(completions)), &count)
	})
	return int(count), failure
}

// WaitQueue calls mc_cq_wait.
func (e Engine) WaitQueue(queue uint64, timeoutMs int64, completions []Completion) (int, *Failure) {
	first := (*C.mc_completion_t)(unsafe.Pointer(unsafe.SliceData(completions)))
	var count C.size_t
	failure := call(func() C.mc_status_t {
		return C.mc_cq_wait(e.name, C.mc_cq_t(queue), C.int64_t(timeoutMs), first, C.size_t(len(completions)), &count)
	})
	return int(count), failure
}

// QueueEventFD calls mc_cq_event_fd.
func (e Engine) QueueEventFD(queue uint64) (int, *Failure) {
	var fd C.int32_t
	failure := call(func() C.mc_status_t { return C.mc_cq_event_fd(e.name, C.mc_cq_t(queue), &fd) })
	return int(fd), failure
}

// tagPointer is a tag for the length of one call, NULL without one.
func tagPointer(tag *string) (*C.char, *Failure) {
	if tag == nil {
		return nil, nil
	}
	if failure := whole(*tag); failure != nil {
		return nil, failure
	}
	text := append([]byte(*tag), 0)
	return (*C.char)(unsafe.Pointer(&text[0])), nil
}

// Notify calls mc_notify_send.
func (e Engine) Notify(segment uint64, tag string, data []byte, timeoutMs int64) *Failure {
	text, failure := tagPointer(&tag)
	if failure != nil {
		return failure
	}
	return call(func() C.mc_status_t {
		return C.mc_notify_send(e.name, C.mc_segment_t(segment), text, unsafe.Pointer(unsafe.SliceData(data)),
			C.size_t(len(data)), C.int64_t(timeoutMs))
	})
}

// Receive calls mc_notify_receive. A nil tag takes any.
func (e Engine) Receive(tag *string, timeoutMs int64, buffer []byte) (Notification, *Failure) {
	text, failure := tagPointer(tag)
	if failure != nil {
		return Notification{}, failure
	}
	raw := C.mc_notify_info_default()
	failure = call(func() C.mc_status_t {
		return C.mc_notify_receive(e.name, text, C.int64_t(timeoutMs), unsafe.Pointer(unsafe.SliceData(buffer)),
			C.size_t(len(buffer)), &raw)
	})
	return Notification{fixed(raw.tag[:]), fixed(raw.sender[:]), fixed(raw.sender_id[:]), uint64(raw.length)}, failure
}

// BindNotify calls mc_notify_bind. A nil tag binds those whose tag is bound nowhere; queue 0 unbinds.
func (e Engine) BindNotify(tag *string, queue, userData uint64) *Failure {
	text, failure := tagPointer(tag)
	if failure != nil {
		return failure
	}
	return call(func() C.mc_status_t {
		return C.mc_notify_bind(e.name, text, C.mc_cq_t(queue), C.uint64_t(userData))
	})
}

// LogFunc receives one log line.
type LogFunc func(level uint32, target, message string)

var logFunc atomic.Pointer[LogFunc]

//export mooncakeGoLog
func mooncakeGoLog(level C.uint32_t, target, message *C.char) {
	if write := logFunc.Load(); write != nil {
		(*write)(uint32(level), C.GoString(target), C.GoString(message))
	}
}

// LogSetCallback calls mc_log_set_callback; nil takes the callback away.
func LogSetCallback(write LogFunc) *Failure {
	if write == nil {
		failure := call(func() C.mc_status_t { return C.mc_log_set_callback(nil, nil, nil) })
		logFunc.Store(nil)
		return failure
	}
	logFunc.Store(&write)
	return call(func() C.mc_status_t { return C.go_log_start() })
}

// LogSetLevel calls mc_log_set_level.
func LogSetLevel(level uint32) *Failure {
	return call(func() C.mc_status_t { return C.mc_log_set_level(C.mc_log_level_t(level)) })
}
