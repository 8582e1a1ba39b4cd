package mooncakestore

import (
	"errors"
	"fmt"
)

// What callers compare with, by errors.Is.
var (
	ErrStoreNil         = errors.New("mooncake store: no store")
	ErrSetupFailed      = errors.New("mooncake store: setup failed")
	ErrInitAllFailed    = errors.New("mooncake store: init_all failed")
	ErrHealthCheck      = errors.New("mooncake store: not healthy")
	ErrPut              = errors.New("mooncake store: put failed")
	ErrGet              = errors.New("mooncake store: get failed")
	ErrRemove           = errors.New("mooncake store: remove failed")
	ErrExist            = errors.New("mooncake store: exists failed")
	ErrGetSize          = errors.New("mooncake store: get_size failed")
	ErrRegisterBuffer   = errors.New("mooncake store: register_buffer failed")
	ErrUnregisterBuffer = errors.New("mooncake store: unregister_buffer failed")
	ErrBatchOp          = errors.New("mooncake store: batch failed")
	ErrHostname         = errors.New("mooncake store: hostname failed")
	ErrInvalidArgument  = errors.New("mooncake store: wrong argument")
)

// storeError is one of these with Mooncake's number and what the library says.
type storeError struct {
	sentinel error
	number   int64
	text     string
}

func (e *storeError) Error() string { return fmt.Sprintf("%v (%d): %s", e.sentinel, e.number, e.text) }
func (e *storeError) Unwrap() error { return e.sentinel }
