// Log: where the lines of every engine of this process go.

package mooncake

import "mooncake.dev/go/internal/capi"

// LogLevel is how much a line matters; a level includes all below it.
type LogLevel uint32

// LogInfo is the default.
const (
	LogOff   LogLevel = 0
	LogError LogLevel = 1
	LogWarn  LogLevel = 2
	LogInfo  LogLevel = 3
	LogDebug LogLevel = 4
	LogTrace LogLevel = 5
)

// SetLog sends the log to a function, from any thread, from several at once; nil: nowhere, as at the start. The
// function must not call this package.
func SetLog(write func(level LogLevel, target, message string)) error {
	if write == nil {
		return asError(capi.LogSetCallback(nil))
	}
	return asError(capi.LogSetCallback(func(level uint32, target, message string) {
		write(LogLevel(level), target, message)
	}))
}

// SetLogLevel chooses how much is logged.
func SetLogLevel(level LogLevel) error { return asError(capi.LogSetLevel(uint32(level))) }
