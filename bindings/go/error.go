// Errors: what a failed call says.

package mooncake

import "mooncake.dev/go/internal/capi"

// Code is the status of a call. The numbers are permanent. A code is an error, for errors.Is.
type Code int32

// What a program may branch on; mooncake.h says more about each.
const (
	OK                      Code = 0
	ErrInvalidArgument      Code = -1
	ErrInvalidHandle        Code = -2
	ErrUnsupported          Code = -3
	ErrBufferTooSmall       Code = -4
	ErrInvalidState         Code = -5
	ErrAddressNotRegistered Code = -6
	ErrBusy                 Code = -20
	ErrTimeout              Code = -21
	ErrCanceled             Code = -22
	ErrExhausted            Code = -23
	ErrNoSpace              Code = -24
	ErrQuotaExceeded        Code = -25
	ErrNotReady             Code = -26
	ErrNotFound             Code = -40
	ErrAlreadyExists        Code = -41
	ErrLeaseExpired         Code = -42
	ErrPermission           Code = -43
	ErrUnauthenticated      Code = -44
	ErrVersionMismatch      Code = -45
	ErrUnreachable          Code = -60
	ErrConnectionLost       Code = -61
	ErrPeerRestarted        Code = -62
	ErrRejected             Code = -63
	ErrCorrupted            Code = -80
	ErrDevice               Code = -81
	ErrIO                   Code = -82
	ErrInternal             Code = -99
)

// Name returns the code's name, such as "TIMEOUT".
func (c Code) Name() string { return capi.StatusName(int32(c)) }

// Error returns one sentence about the code.
func (c Code) Error() string { return capi.StatusText(int32(c)) }

// Retryable tells whether the same call may succeed later without a change by the caller.
func (c Code) Retryable() bool { return capi.StatusIsRetryable(int32(c)) }

// asError is nil for OK and the code itself otherwise.
func (c Code) asError() error {
	if c == OK {
		return nil
	}
	return c
}

// Error is a call that failed.
type Error struct {
	Code Code
	// Text says what happened to whom, and what to do.
	Text string
}

// Error returns the text with the name of the code.
func (e *Error) Error() string { return "mooncake: " + e.Code.Name() + ": " + e.Text }

// Unwrap returns the code, so that errors.Is finds it.
func (e *Error) Unwrap() error { return e.Code }

// asError keeps a nil failure a nil error.
func asError(failure *capi.Failure) error {
	if failure == nil {
		return nil
	}
	return &Error{Code: Code(failure.Code), Text: failure.Text}
}

func isCode(failure *capi.Failure, code Code) bool {
	return failure != nil && failure.Code == int32(code)
}
