// Package legacy calls Mooncake's names of the store in C, store_c.h: one crossing each, numbers as they come.
package legacy

/*
#cgo pkg-config: mooncake
#include <mooncake.h>
#include <stdlib.h>
#include <store_c.h>

// Addresses cross as numbers.
static int go_put(mooncake_store_t store, const char *key, uintptr_t from, size_t size,
                  const mooncake_replicate_config_t *config) {
  return mooncake_store_put(store, key, (const void *)from, size, config);
}
static int64_t go_get(mooncake_store_t store, const char *key, uintptr_t into, size_t size) {
  return mooncake_store_get_into(store, key, (void *)into, size);
}
static int go_register(mooncake_store_t store, uintptr_t address, size_t size) {
  return mooncake_store_register_buffer(store, (void *)address, size);
}
static int go_unregister(mooncake_store_t store, uintptr_t address) {
  return mooncake_store_unregister_buffer(store, (void *)address);
}
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Handle names a store of Mooncake's API.
type Handle struct{ name C.mooncake_store_t }

// Config mirrors mooncake_replicate_config.
type Config struct {
	Replicas         uint64
	SoftPin, HardPin bool
	Preferred        []string
}

// call runs f on one OS thread, so that the text of a failure belongs to it.
func call(f func() C.int64_t) (int64, string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	number := int64(f())
	if number >= 0 {
		return number, ""
	}
	return number, C.GoString(C.mc_last_error_message())
}

func text(pinner *runtime.Pinner, from string) *C.char {
	bytes := append([]byte(from), 0)
	pinner.Pin(&bytes[0])
	return (*C.char)(unsafe.Pointer(&bytes[0]))
}

func texts(pinner *runtime.Pinner, from []string) **C.char {
	if len(from) == 0 {
		return nil
	}
	all := make([]*C.char, len(from))
	for i, one := range from {
		all[i] = text(pinner, one)
	}
	pinner.Pin(&all[0])
	return &all[0]
}

func configOf(pinner *runtime.Pinner, from Config) *C.mooncake_replicate_config_t {
	config := &C.mooncake_replicate_config_t{
		replica_num: C.size_t(from.Replicas), preferred_segments: texts(pinner, from.Preferred),
		preferred_segments_count: C.size_t(len(from.Preferred)),
	}
	if from.SoftPin {
		config.with_soft_pin = 1
	}
	if from.HardPin {
		config.with_hard_pin = 1
	}
	return config
}

func force(set bool) C.int {
	if set {
		return 1
	}
	return 0
}

// Create calls mooncake_store_create.
func Create() Handle { return Handle{C.mooncake_store_create()} }

// IsNil tells whether the handle names nothing.
func (h Handle) IsNil() bool { return h.name == nil }

// Destroy calls mooncake_store_destroy.
func (h Handle) Destroy() { C.mooncake_store_destroy(h.name) }

// Setup calls mooncake_store_setup; a master that is "" is the default one.
func (h Handle) Setup(hostname, metadata string, segment, buffer uint64, protocol, device, master string) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return call(func() C.int64_t {
		return C.int64_t(C.mooncake_store_setup(h.name, text(&pinner, hostname), text(&pinner, metadata), C.uint64_t(segment),
			C.uint64_t(buffer), text(&pinner, protocol), text(&pinner, device), text(&pinner, master)))
	})
}

// InitAll calls mooncake_store_init_all.
func (h Handle) InitAll(protocol, device string, segment uint64) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return call(func() C.int64_t {
		return C.int64_t(C.mooncake_store_init_all(h.name, text(&pinner, protocol), text(&pinner, device), C.uint64_t(segment)))
	})
}

// HealthCheck calls mooncake_store_health_check.
func (h Handle) HealthCheck() (int64, string) {
	return call(func() C.int64_t { return C.int64_t(C.mooncake_store_health_check(h.name)) })
}

// Put calls mooncake_store_put.
func (h Handle) Put(key string, from uintptr, size uint64, config Config) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	kept := configOf(&pinner, config)
	return call(func() C.int64_t {
		return C.int64_t(C.go_put(h.name, text(&pinner, key), C.uintptr_t(from), C.size_t(size), kept))
	})
}

// Get calls mooncake_store_get_into.
func (h Handle) Get(key string, into uintptr, size uint64) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return call(func() C.int64_t {
		return C.go_get(h.name, text(&pinner, key), C.uintptr_t(into), C.size_t(size))
	})
}

// arrays are addresses and sizes as C takes them: numbers of the same width.
func arrays(addresses []uintptr, sizes []uint64) (*unsafe.Pointer, *C.size_t) {
	wide := make([]C.size_t, len(sizes))
	for i, size := range sizes {
		wide[i] = C.size_t(size)
	}
	return (*unsafe.Pointer)(unsafe.Pointer(&addresses[0])), &wide[0]
}

// BatchPut calls mooncake_store_batch_put_from.
func (h Handle) BatchPut(keys []string, addresses []uintptr, sizes []uint64, config Config) ([]int, int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	kept := configOf(&pinner, config)
	buffers, lengths := arrays(addresses, sizes)
	raw := make([]C.int, len(keys))
	number, why := call(func() C.int64_t {
		return C.int64_t(C.mooncake_store_batch_put_from(h.name, texts(&pinner, keys), buffers, lengths, C.size_t(len(keys)), kept, &raw[0]))
	})
	return numbers(raw), number, why
}

func numbers(raw []C.int) []int {
	all := make([]int, len(raw))
	for i, one := range raw {
		all[i] = int(one)
	}
	return all
}

// BatchGet calls mooncake_store_batch_get_into.
func (h Handle) BatchGet(keys []string, addresses []uintptr, sizes []uint64) ([]int64, int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	buffers, lengths := arrays(addresses, sizes)
	results := make([]int64, len(keys))
	number, why := call(func() C.int64_t {
		return C.int64_t(C.mooncake_store_batch_get_into(h.name, texts(&pinner, keys), buffers, lengths, C.size_t(len(keys)),
			(*C.int64_t)(unsafe.Pointer(&results[0]))))
	})
	return results, number, why
}

// Exists calls mooncake_store_is_exist.
func (h Handle) Exists(key string) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return call(func() C.int64_t { return C.int64_t(C.mooncake_store_is_exist(h.name, text(&pinner, key))) })
}

// BatchExists calls mooncake_store_batch_is_exist.
func (h Handle) BatchExists(keys []string) ([]int, int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	raw := make([]C.int, len(keys))
	number, why := call(func() C.int64_t {
		return C.int64_t(C.mooncake_store_batch_is_exist(h.name, texts(&pinner, keys), C.size_t(len(keys)), &raw[0]))
	})
	return numbers(raw), number, why
}

// Size calls mooncake_store_get_size.
func (h Handle) Size(key string) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return call(func() C.int64_t { return C.mooncake_store_get_size(h.name, text(&pinner, key)) })
}

// Hostname calls mooncake_store_get_hostname.
func (h Handle) Hostname() (string, int64, string) {
	buffer := make([]C.char, 512)
	number, why := call(func() C.int64_t {
		return C.int64_t(C.mooncake_store_get_hostname(h.name, &buffer[0], C.size_t(len(buffer))))
	})
	return C.GoString(&buffer[0]), number, why
}

// Remove calls mooncake_store_remove.
func (h Handle) Remove(key string, forced bool) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return call(func() C.int64_t {
		return C.int64_t(C.mooncake_store_remove(h.name, text(&pinner, key), force(forced)))
	})
}

// RemoveByRegex calls mooncake_store_remove_by_regex.
func (h Handle) RemoveByRegex(pattern string, forced bool) (int64, string) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return call(func() C.int64_t {
		return C.mooncake_store_remove_by_regex(h.name, text(&pinner, pattern), force(forced))
	})
}

// RemoveAll calls mooncake_store_remove_all.
func (h Handle) RemoveAll(forced bool) (int64, string) {
	return call(func() C.int64_t { return C.mooncake_store_remove_all(h.name, force(forced)) })
}

// RegisterBuffer calls mooncake_store_register_buffer.
func (h Handle) RegisterBuffer(address uintptr, size uint64) (int64, string) {
	return call(func() C.int64_t { return C.int64_t(C.go_register(h.name, C.uintptr_t(address), C.size_t(size))) })
}

// UnregisterBuffer calls mooncake_store_unregister_buffer.
func (h Handle) UnregisterBuffer(address uintptr) (int64, string) {
	return call(func() C.int64_t { return C.int64_t(C.go_unregister(h.name, C.uintptr_t(address))) })
}
