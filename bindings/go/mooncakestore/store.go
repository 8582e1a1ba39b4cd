// Package mooncakestore has the names of Mooncake's Go store over this library: programs written for that package build
// with this import path instead. New programs are better served by mooncake.dev/go, whose store has contexts, results,
// sessions, ranges and the reason of each failure.
package mooncakestore

import (
	"runtime"
	"unsafe"

	"mooncake.dev/go/internal/legacy"
)

// Store is a client of a store, which may give memory to it.
type Store struct{ handle legacy.Handle }

// New makes a store that is to be set up.
func New() (*Store, error) {
	handle := legacy.Create()
	if handle.IsNil() {
		return nil, ErrStoreNil
	}
	return &Store{handle}, nil
}

func (s *Store) isNil() bool { return s == nil || s.handle.IsNil() }

// failure is the sentinel with what the library says about it; nil for a number that is no failure.
func failure(sentinel error, number int64, text string) error {
	if number >= 0 {
		return nil
	}
	return &storeError{sentinel, number, text}
}

// Setup joins the master at masterServerAddr ("": 127.0.0.1:50051) and gives it globalSegmentSize bytes.
func (s *Store) Setup(localHostname, metadataServer string, globalSegmentSize, localBufferSize uint64, protocol, deviceName, masterServerAddr string) error {
	if s.isNil() {
		return ErrStoreNil
	}
	number, text := s.handle.Setup(localHostname, metadataServer, globalSegmentSize, localBufferSize, protocol, deviceName, masterServerAddr)
	return failure(ErrSetupFailed, number, text)
}

// InitAll gives more memory.
func (s *Store) InitAll(protocol, deviceName string, mountSegmentSize uint64) error {
	if s.isNil() {
		return ErrStoreNil
	}
	number, text := s.handle.InitAll(protocol, deviceName, mountSegmentSize)
	return failure(ErrInitAllFailed, number, text)
}

// HealthCheck is nil when the master answers.
func (s *Store) HealthCheck() error {
	if s.isNil() {
		return ErrStoreNil
	}
	number, text := s.handle.HealthCheck()
	if number > 0 {
		return &storeError{ErrHealthCheck, number, "not set up, or no master answers"}
	}
	return failure(ErrHealthCheck, number, text)
}

// Close ends the store.
func (s *Store) Close() {
	if !s.isNil() {
		s.handle.Destroy()
		s.handle = legacy.Handle{}
	}
}

// ReplicateConfig says how an object is kept; nil is one replica.
type ReplicateConfig struct {
	ReplicaNum        int
	WithSoftPin       bool
	WithHardPin       bool
	PreferredSegments []string
}

func (c *ReplicateConfig) legacy() (legacy.Config, error) {
	if c == nil {
		return legacy.Config{Replicas: 1}, nil
	}
	if c.ReplicaNum <= 0 {
		return legacy.Config{}, ErrInvalidArgument
	}
	return legacy.Config{
		Replicas: uint64(c.ReplicaNum), SoftPin: c.WithSoftPin, HardPin: c.WithHardPin, Preferred: c.PreferredSegments,
	}, nil
}

// Put puts a copy of the value. A key that is there already is nil, and nothing is stored.
func (s *Store) Put(key string, value []byte, config *ReplicateConfig) error {
	if s.isNil() {
		return ErrStoreNil
	}
	kept, err := config.legacy()
	if err != nil {
		return err
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	if len(value) > 0 {
		pinner.Pin(&value[0])
	}
	number, text := s.handle.Put(key, uintptr(unsafe.Pointer(unsafe.SliceData(value))), uint64(len(value)), kept)
	return failure(ErrPut, number, text)
}

// PutFrom puts what lies at an address.
func (s *Store) PutFrom(key string, ptr uintptr, size uint64, config *ReplicateConfig) error {
	if s.isNil() {
		return ErrStoreNil
	}
	if ptr == 0 || size == 0 {
		return ErrInvalidArgument
	}
	kept, err := config.legacy()
	if err != nil {
		return err
	}
	number, text := s.handle.Put(key, ptr, size, kept)
	return failure(ErrPut, number, text)
}

// BatchPutFrom puts many; a number for each key, 0 for success.
func (s *Store) BatchPutFrom(keys []string, ptrs []uintptr, sizes []uint64, config *ReplicateConfig) ([]int, error) {
	if err := s.checkBatch(len(keys), len(ptrs), len(sizes)); err != nil || len(keys) == 0 {
		return nil, err
	}
	kept, err := config.legacy()
	if err != nil {
		return nil, err
	}
	results, number, text := s.handle.BatchPut(keys, ptrs, sizes, kept)
	return results, failure(ErrBatchOp, number, text)
}

func (s *Store) checkBatch(keys, ptrs, sizes int) error {
	if s.isNil() {
		return ErrStoreNil
	}
	if keys != ptrs || keys != sizes {
		return ErrInvalidArgument
	}
	return nil
}

// GetInto gets an object to an address; its bytes.
func (s *Store) GetInto(key string, ptr uintptr, size uint64) (int64, error) {
	if s.isNil() {
		return 0, ErrStoreNil
	}
	number, text := s.handle.Get(key, ptr, size)
	return max(number, 0), failure(ErrGet, number, text)
}

// Get gets an object into a slice; its bytes.
func (s *Store) Get(key string, buf []byte) (int64, error) {
	if s.isNil() {
		return 0, ErrStoreNil
	}
	if len(buf) == 0 {
		return 0, ErrInvalidArgument
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&buf[0])
	return s.GetInto(key, uintptr(unsafe.Pointer(&buf[0])), uint64(len(buf)))
}

// BatchGetInto gets many; bytes or a negative number for each key.
func (s *Store) BatchGetInto(keys []string, ptrs []uintptr, sizes []uint64) ([]int64, error) {
	if err := s.checkBatch(len(keys), len(ptrs), len(sizes)); err != nil || len(keys) == 0 {
		return nil, err
	}
	results, number, text := s.handle.BatchGet(keys, ptrs, sizes)
	return results, failure(ErrBatchOp, number, text)
}

// Exists tells whether an object is there.
func (s *Store) Exists(key string) (bool, error) {
	if s.isNil() {
		return false, ErrStoreNil
	}
	number, text := s.handle.Exists(key)
	return number == 1, failure(ErrExist, number, text)
}

// BatchExists tells it of many.
func (s *Store) BatchExists(keys []string) ([]bool, error) {
	if err := s.checkBatch(len(keys), len(keys), len(keys)); err != nil || len(keys) == 0 {
		return nil, err
	}
	results, number, text := s.handle.BatchExists(keys)
	exist := make([]bool, len(results))
	for i, result := range results {
		exist[i] = result == 1
	}
	return exist, failure(ErrBatchOp, number, text)
}

// GetSize tells how large an object is.
func (s *Store) GetSize(key string) (int64, error) {
	if s.isNil() {
		return 0, ErrStoreNil
	}
	number, text := s.handle.Size(key)
	return max(number, 0), failure(ErrGetSize, number, text)
}

// Hostname is "host:port", the name of this process's memory.
func (s *Store) Hostname() (string, error) {
	if s.isNil() {
		return "", ErrStoreNil
	}
	name, number, text := s.handle.Hostname()
	return name, failure(ErrHostname, number, text)
}

// Remove removes an object; without force one that somebody reads stays.
func (s *Store) Remove(key string, force bool) error {
	if s.isNil() {
		return ErrStoreNil
	}
	number, text := s.handle.Remove(key, force)
	return failure(ErrRemove, number, text)
}

// RemoveByRegex removes those in whose keys the pattern is found; how many.
func (s *Store) RemoveByRegex(pattern string, force bool) (int64, error) {
	if s.isNil() {
		return 0, ErrStoreNil
	}
	number, text := s.handle.RemoveByRegex(pattern, force)
	return max(number, 0), failure(ErrRemove, number, text)
}

// RemoveAll removes all; how many.
func (s *Store) RemoveAll(force bool) (int64, error) {
	if s.isNil() {
		return 0, ErrStoreNil
	}
	number, text := s.handle.RemoveAll(force)
	return max(number, 0), failure(ErrRemove, number, text)
}

// RegisterBuffer spares later calls on this memory the registering. It must not move: memory of C, of mmap, or pinned.
func (s *Store) RegisterBuffer(ptr uintptr, size uint64) error {
	if s.isNil() {
		return ErrStoreNil
	}
	if ptr == 0 || size == 0 {
		return ErrInvalidArgument
	}
	number, text := s.handle.RegisterBuffer(ptr, size)
	return failure(ErrRegisterBuffer, number, text)
}

// UnregisterBuffer ends that.
func (s *Store) UnregisterBuffer(ptr uintptr) error {
	if s.isNil() {
		return ErrStoreNil
	}
	number, text := s.handle.UnregisterBuffer(ptr)
	return failure(ErrUnregisterBuffer, number, text)
}
