// Log: lines reach the function until it is taken away.

package mooncake_test

import (
	"sync/atomic"
	"testing"

	"mooncake.dev/go"
)

func TestLinesReachTheFunctionUntilItIsTakenAway(t *testing.T) {
	var lines, strange atomic.Int64
	must(t, mooncake.SetLogLevel(mooncake.LogTrace))
	must(t, mooncake.SetLog(func(level mooncake.LogLevel, target, message string) {
		lines.Add(1)
		if level < mooncake.LogError || level > mooncake.LogTrace || target == "" || message == "" {
			strange.Add(1)
		}
	}))
	must(t, newEngine(t, "chatty").Close())
	must(t, mooncake.SetLog(nil))
	before := lines.Load()
	if before == 0 || strange.Load() != 0 {
		t.Errorf("%d lines, %d of them strange", before, strange.Load())
	}
	must(t, newEngine(t, "silent").Close())
	if after := lines.Load(); after != before {
		t.Errorf("%d lines came after the function was taken away", after-before)
	}
	must(t, mooncake.SetLogLevel(mooncake.LogInfo))
	mustFail(t, mooncake.SetLogLevel(77), mooncake.ErrInvalidArgument)
}
