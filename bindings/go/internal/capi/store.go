// The store's part of the crossing.

package capi

/*
#include "store.h"
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Store names a store. The zero value names none.
type Store struct{ name *C.mc_store_t }

// StoreOpen calls mc_store_open.
func StoreOpen(from StoreOptions) (Store, *Failure) {
	if failure := whole(from.Masters, from.Tenant, from.NodeName, from.Domain, from.MasterListen, from.NodeListen); failure != nil {
		return Store{}, failure
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.mc_store_options_default()
	options.flags = C.uint64_t(from.Flags)
	options.masters = pinned(&pinner, from.Masters)
	options.tenant = pinned(&pinner, from.Tenant)
	options.psk, options.psk_length = secret(&pinner, from.PSK)
	options.engine = from.Engine.name
	options.deadline_ms = C.uint64_t(from.DeadlineMs)
	options.lease_cache = C.uint64_t(from.LeaseCache)
	options.memory_bytes = C.uint64_t(from.MemoryBytes)
	options.node_name = pinned(&pinner, from.NodeName)
	options.domain = pinned(&pinner, from.Domain)
	options.master_listen = pinned(&pinner, from.MasterListen)
	options.node_listen = pinned(&pinner, from.NodeListen)
	var store Store
	failure := call(func() C.mc_status_t { return C.mc_store_open(&options, &store.name) })
	return store, failure
}

func secret(pinner *runtime.Pinner, psk []byte) (unsafe.Pointer, C.size_t) {
	if len(psk) == 0 {
		return nil, 0
	}
	pinner.Pin(&psk[0])
	return unsafe.Pointer(&psk[0]), C.size_t(len(psk))
}

// Close calls mc_store_close.
func (s Store) Close() *Failure {
	return call(func() C.mc_status_t { return C.mc_store_close(s.name) })
}

// Info calls mc_store_get_info.
func (s Store) Info() (StoreInfo, *Failure) {
	raw := C.mc_store_info_default()
	failure := call(func() C.mc_status_t { return C.mc_store_get_info(s.name, &raw) })
	return StoreInfo{
		Tenant: fixed(raw.tenant[:]), MasterAddress: fixed(raw.master_address[:]), NodeAddress: fixed(raw.node_address[:]),
		MemoryBytes: uint64(raw.memory_bytes), HeldBytes: uint64(raw.held_bytes), ChildCount: uint64(raw.child_count),
	}, failure
}

func putOptions(pinner *runtime.Pinner, from *PutOptions) (C.mc_store_put_options_t, *Failure) {
	options := C.mc_store_put_options_default()
	if failure := whole(append([]string{from.Group}, from.Preferred...)...); failure != nil {
		return options, failure
	}
	options.replica_count = C.uint32_t(from.Replicas)
	options.flags = C.uint64_t(from.Flags)
	options.soft_pin_ms = C.uint64_t(from.SoftPinMs)
	options.group = pinned(pinner, from.Group)
	options.preferred = names(pinner, from.Preferred)
	options.preferred_count = C.size_t(len(from.Preferred))
	options.stripe_size = C.uint64_t(from.StripeSize)
	options.timeout_ms = C.uint64_t(from.TimeoutMs)
	return options, nil
}

func names(pinner *runtime.Pinner, from []string) **C.char {
	if len(from) == 0 {
		return nil
	}
	all := make([]*C.char, len(from))
	for i, name := range from {
		all[i] = pinnedAlways(pinner, name)
	}
	pinner.Pin(&all[0])
	return &all[0]
}

func getOptions(from *GetOptions) C.mc_store_get_options_t {
	options := C.mc_store_get_options_default()
	options.flags = C.uint64_t(from.Flags)
	options.timeout_ms = C.uint64_t(from.TimeoutMs)
	return options
}

// A key is any bytes; an empty one is not NULL, so that the library says what is wrong with it.
func keyOf(key string) (unsafe.Pointer, C.size_t) {
	if key == "" {
		return unsafe.Pointer(unsafe.StringData("-")), 0
	}
	return unsafe.Pointer(unsafe.StringData(key)), C.size_t(len(key))
}

func resultOf(raw *C.mc_store_result_t) StoreResult {
	return StoreResult{
		Status: int32(raw.status), RetryAfterMs: uint32(raw.retry_after_ms), Size: uint64(raw.size),
		Version: uint64(raw.version), Replicas: uint32(raw.replica_count),
	}
}

// Put calls mc_store_put.
func (s Store) Put(key string, value []byte, from *PutOptions) (StoreResult, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options, failure := putOptions(&pinner, from)
	if failure != nil {
		return StoreResult{}, failure
	}
	name, length := keyOf(key)
	var raw C.mc_store_result_t
	failure = call(func() C.mc_status_t {
		return C.mc_store_put(s.name, name, length, unsafe.Pointer(unsafe.SliceData(value)), C.size_t(len(value)), &options, &raw)
	})
	return resultOf(&raw), failure
}

// Get calls mc_store_get.
func (s Store) Get(key string, into []byte, from *GetOptions) (StoreResult, *Failure) {
	options := getOptions(from)
	name, length := keyOf(key)
	var raw C.mc_store_result_t
	failure := call(func() C.mc_status_t {
		return C.mc_store_get(s.name, name, length, unsafe.Pointer(unsafe.SliceData(into)), C.size_t(len(into)), &options, &raw)
	})
	return resultOf(&raw), failure
}

// GetRange calls mc_store_get_range.
func (s Store) GetRange(key string, offset uint64, into []byte, from *GetOptions) (StoreResult, *Failure) {
	options := getOptions(from)
	name, length := keyOf(key)
	var raw C.mc_store_result_t
	failure := call(func() C.mc_status_t {
		return C.mc_store_get_range(s.name, name, length, C.uint64_t(offset), unsafe.Pointer(unsafe.SliceData(into)),
			C.size_t(len(into)), &options, &raw)
	})
	return resultOf(&raw), failure
}

// Objects are those of one call: keys and memory in lists without pointers. The zero value has none.
type Objects struct {
	keys    []byte
	objects []C.go_object_t
	pieces  []C.go_piece_t
	ranges  []C.go_range_t
	pinner  runtime.Pinner
}

// Add begins another object; what follows belongs to it.
func (o *Objects) Add(key string, size uint64) {
	o.objects = append(o.objects, C.go_object_t{
		key_at: C.size_t(len(o.keys)), key_length: C.size_t(len(key)), first_piece: C.size_t(len(o.pieces)),
		first_range: C.size_t(len(o.ranges)), size: C.uint64_t(size),
	})
	o.keys = append(o.keys, key...)
}

// Piece adds memory to the object.
func (o *Objects) Piece(memory []byte) {
	o.piece(memory)
	o.objects[len(o.objects)-1].piece_count++
}

func (o *Objects) piece(memory []byte) {
	if len(memory) > 0 {
		o.pinner.Pin(&memory[0])
	}
	address := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	o.pieces = append(o.pieces, C.go_piece_t{address: C.uintptr_t(address), length: C.size_t(len(memory))})
}

// Range adds a part of the object, and where it goes.
func (o *Objects) Range(offset uint64, memory []byte) {
	o.ranges = append(o.ranges, C.go_range_t{offset: C.uint64_t(offset), first_piece: C.size_t(len(o.pieces)), piece_count: 1})
	o.piece(memory)
	o.objects[len(o.objects)-1].range_count++
}

// run calls f with the lists as C takes them, and reads the results.
func (o *Objects) run(f func(from *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t) ([]StoreResult, *Failure) {
	defer o.pinner.Unpin()
	raw, failure := o.cross(f)
	return resultsOf(raw), failure
}

func resultsOf(raw []C.mc_store_result_t) []StoreResult {
	results := make([]StoreResult, len(raw))
	for i := range results {
		results[i] = resultOf(&raw[i])
	}
	return results
}

// cross calls f with the lists as C takes them, and leaves them and the results pinned.
func (o *Objects) cross(f func(from *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t) ([]C.mc_store_result_t, *Failure) {
	count := len(o.objects)
	raw := make([]C.mc_store_result_t, count+1)
	o.pinner.Pin(&raw[0])
	o.keys = append(o.keys, 0)
	o.pieces = append(o.pieces, C.go_piece_t{})
	o.ranges = append(o.ranges, C.go_range_t{})
	o.objects = append(o.objects, C.go_object_t{})
	o.pinner.Pin(&o.keys[0])
	o.pinner.Pin(&o.objects[0])
	o.pinner.Pin(&o.pieces[0])
	o.pinner.Pin(&o.ranges[0])
	from := C.go_objects_t{
		keys: (*C.char)(unsafe.Pointer(&o.keys[0])), objects: &o.objects[0], count: C.size_t(count),
		pieces: &o.pieces[0], ranges: &o.ranges[0], range_count: C.size_t(len(o.ranges) - 1),
	}
	failure := call(func() C.mc_status_t { return f(&from, &raw[0]) })
	return raw[:count], failure
}

// Background is a batch under way, with what belongs to the library until it has ended.
type Background struct {
	UserData uint64
	objects  *Objects
	results  []C.mc_store_result_t
}

func (o *Objects) submit(userData uint64, f func(from *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t) (Background, *Failure) {
	results, failure := o.cross(f)
	if failure != nil {
		o.pinner.Unpin()
	}
	return Background{userData, o, results}, failure
}

// End takes the memory back, once the batch has ended.
func (b Background) End() []StoreResult {
	b.objects.pinner.Unpin()
	return resultsOf(b.results)
}

// PutSubmit calls mc_store_put_submit.
func (s Store) PutSubmit(objects *Objects, from *PutOptions, queue, userData uint64) (Background, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options, failure := putOptions(&pinner, from)
	if failure != nil {
		objects.pinner.Unpin()
		return Background{}, failure
	}
	return objects.submit(userData, func(raw *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_put_submit(s.name, raw, &options, C.mc_cq_t(queue), C.uint64_t(userData), results)
	})
}

// GetSubmit calls mc_store_get_submit.
func (s Store) GetSubmit(objects *Objects, from *GetOptions, queue, userData uint64) (Background, *Failure) {
	options := getOptions(from)
	return objects.submit(userData, func(raw *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_get_submit(s.name, raw, &options, C.mc_cq_t(queue), C.uint64_t(userData), results)
	})
}

// StoreView mirrors mc_store_view_t.
type StoreView struct {
	Buffer uint64
	Memory []byte
}

func viewOf(raw *C.mc_store_view_t) StoreView {
	return StoreView{uint64(raw.buffer), unsafe.Slice((*byte)(raw.address), int(raw.length))}
}

// GetView calls mc_store_get_view.
func (s Store) GetView(key string, from *GetOptions) (StoreView, StoreResult, *Failure) {
	options := getOptions(from)
	name, length := keyOf(key)
	var view C.mc_store_view_t
	var raw C.mc_store_result_t
	failure := call(func() C.mc_status_t {
		return C.mc_store_get_view(s.name, name, length, &options, &view, &raw)
	})
	return viewOf(&view), resultOf(&raw), failure
}

// GetViewBatch calls mc_store_get_view_batch.
func (s Store) GetViewBatch(objects *Objects, from *GetOptions) ([]StoreView, []StoreResult, *Failure) {
	options := getOptions(from)
	raw := make([]C.mc_store_view_t, len(objects.objects)+1)
	results, failure := objects.run(func(from *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_get_view(s.name, from, &options, &raw[0], results)
	})
	views := make([]StoreView, len(results))
	for i := range views {
		views[i] = viewOf(&raw[i])
	}
	return views, results, failure
}

// BufferRelease calls mc_store_buffer_release.
func (s Store) BufferRelease(buffer uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_store_buffer_release(s.name, C.mc_store_buffer_t(buffer)) })
}

// PutBatch calls mc_store_put_batch.
func (s Store) PutBatch(objects *Objects, from *PutOptions) ([]StoreResult, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options, failure := putOptions(&pinner, from)
	if failure != nil {
		return nil, failure
	}
	return objects.run(func(raw *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_put(s.name, raw, &options, results)
	})
}

// GetBatch calls mc_store_get_batch.
func (s Store) GetBatch(objects *Objects, from *GetOptions) ([]StoreResult, *Failure) {
	options := getOptions(from)
	return objects.run(func(raw *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_get(s.name, raw, &options, results)
	})
}

// ExistsBatch calls mc_store_exists_batch.
func (s Store) ExistsBatch(objects *Objects, flags uint64, timeoutMs int64) ([]StoreResult, *Failure) {
	return objects.run(func(raw *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_exists(s.name, raw, C.uint64_t(flags), C.int64_t(timeoutMs), results)
	})
}

// RemoveBatch calls mc_store_remove_batch.
func (s Store) RemoveBatch(objects *Objects, flags uint64, timeoutMs int64) ([]StoreResult, *Failure) {
	return objects.run(func(raw *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_remove(s.name, raw, C.uint64_t(flags), C.int64_t(timeoutMs), results)
	})
}

// begin runs f with room for one id for each object.
func (o *Objects) begin(f func(from *C.go_objects_t, ids *C.uint64_t, results *C.mc_store_result_t) C.mc_status_t) ([]uint64, []StoreResult, *Failure) {
	ids := make([]uint64, len(o.objects)+1)
	results, failure := o.run(func(raw *C.go_objects_t, results *C.mc_store_result_t) C.mc_status_t {
		return f(raw, (*C.uint64_t)(unsafe.Pointer(&ids[0])), results)
	})
	return ids[:len(ids)-1], results, failure
}

// PutBegin calls mc_store_put_begin.
func (s Store) PutBegin(objects *Objects, from *PutOptions) ([]uint64, []StoreResult, *Failure) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options, failure := putOptions(&pinner, from)
	if failure != nil {
		return nil, nil, failure
	}
	return objects.begin(func(raw *C.go_objects_t, ids *C.uint64_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_put_begin(s.name, raw, &options, (*C.mc_store_writing_t)(ids), results)
	})
}

// GetBegin calls mc_store_get_begin.
func (s Store) GetBegin(objects *Objects, from *GetOptions) ([]uint64, []StoreResult, *Failure) {
	options := getOptions(from)
	return objects.begin(func(raw *C.go_objects_t, ids *C.uint64_t, results *C.mc_store_result_t) C.mc_status_t {
		return C.go_store_get_begin(s.name, raw, &options, (*C.mc_store_reading_t)(ids), results)
	})
}

// PutWrite calls mc_store_put_write.
func (s Store) PutWrite(writing, offset uint64, piece []byte, timeoutMs int64) *Failure {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	if len(piece) > 0 {
		pinner.Pin(&piece[0])
	}
	span := C.mc_span_t{address: unsafe.Pointer(unsafe.SliceData(piece)), length: C.size_t(len(piece))}
	return call(func() C.mc_status_t {
		return C.mc_store_put_write(s.name, C.mc_store_writing_t(writing), C.uint64_t(offset), &span, 1, C.int64_t(timeoutMs))
	})
}

// PutCommit calls mc_store_put_commit.
func (s Store) PutCommit(writing uint64, timeoutMs int64) (StoreResult, *Failure) {
	var raw C.mc_store_result_t
	failure := call(func() C.mc_status_t {
		return C.mc_store_put_commit(s.name, C.mc_store_writing_t(writing), C.int64_t(timeoutMs), &raw)
	})
	return resultOf(&raw), failure
}

// PutRevoke calls mc_store_put_revoke.
func (s Store) PutRevoke(writing uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_store_put_revoke(s.name, C.mc_store_writing_t(writing)) })
}

// GetRead calls mc_store_get_read.
func (s Store) GetRead(reading, offset uint64, into []byte, timeoutMs int64) *Failure {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	if len(into) > 0 {
		pinner.Pin(&into[0])
	}
	address := uintptr(unsafe.Pointer(unsafe.SliceData(into)))
	piece := C.go_piece_t{address: C.uintptr_t(address), length: C.size_t(len(into))}
	return call(func() C.mc_status_t {
		return C.go_store_read(s.name, C.mc_store_reading_t(reading), C.uint64_t(offset), piece, C.int64_t(timeoutMs))
	})
}

// GetEnd calls mc_store_get_end.
func (s Store) GetEnd(reading uint64) *Failure {
	return call(func() C.mc_status_t { return C.mc_store_get_end(s.name, C.mc_store_reading_t(reading)) })
}

// Exists calls mc_store_exists.
func (s Store) Exists(key string, flags uint64, timeoutMs int64) (bool, *Failure) {
	name, length := keyOf(key)
	var exists C.bool
	failure := call(func() C.mc_status_t {
		return C.mc_store_exists(s.name, name, length, C.uint64_t(flags), C.int64_t(timeoutMs), &exists)
	})
	return bool(exists), failure
}

// Size calls mc_store_get_size.
func (s Store) Size(key string, timeoutMs int64) (uint64, *Failure) {
	name, length := keyOf(key)
	var size C.uint64_t
	failure := call(func() C.mc_status_t {
		return C.mc_store_get_size(s.name, name, length, C.int64_t(timeoutMs), &size)
	})
	return uint64(size), failure
}

// Remove calls mc_store_remove.
func (s Store) Remove(key string, flags uint64, timeoutMs int64) *Failure {
	name, length := keyOf(key)
	return call(func() C.mc_status_t {
		return C.mc_store_remove(s.name, name, length, C.uint64_t(flags), C.int64_t(timeoutMs))
	})
}
