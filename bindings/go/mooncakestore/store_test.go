// A program written for Mooncake's Go store.

package mooncakestore_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"mooncake.dev/go"
	"mooncake.dev/go/mooncakestore"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T) *mooncakestore.Store {
	t.Helper()
	master, err := mooncake.NewMaster(&mooncake.MasterOptions{Found: true})
	must(t, err)
	t.Cleanup(func() { master.Close() })
	info, err := master.Info()
	must(t, err)
	store, err := mooncakestore.New()
	must(t, err)
	t.Cleanup(store.Close)
	must(t, store.Setup("127.0.0.1", "P2PHANDSHAKE", 16<<20, 16<<20, "tcp", "", info.Address))
	return store
}

func TestAProgramOfMooncakesPackageRuns(t *testing.T) {
	store := newStore(t)
	must(t, store.HealthCheck())
	name, err := store.Hostname()
	must(t, err)
	if !strings.HasPrefix(name, "127.0.0.1:") {
		t.Errorf("%q", name)
	}
	value := bytes.Repeat([]byte("keys and values "), 1000)
	must(t, store.Put("key", value, &mooncakestore.ReplicateConfig{ReplicaNum: 1, WithSoftPin: true, PreferredSegments: []string{name}}))
	must(t, store.Put("key", []byte("again"), nil))
	exists, err := store.Exists("key")
	must(t, err)
	size, err := store.GetSize("key")
	must(t, err)
	back := make([]byte, len(value))
	got, err := store.Get("key", back)
	must(t, err)
	if !exists || size != int64(len(value)) || got != size || !bytes.Equal(back, value) {
		t.Errorf("%v, %d, %d", exists, size, got)
	}
	if err := store.Remove("key", false); !errors.Is(err, mooncakestore.ErrRemove) || !strings.Contains(err.Error(), "-706") {
		t.Errorf("%v", err)
	}
	must(t, store.Remove("key", true))
	if _, err := store.Get("key", back); !errors.Is(err, mooncakestore.ErrGet) {
		t.Errorf("%v", err)
	}
	if err := store.Put("key", value, &mooncakestore.ReplicateConfig{}); !errors.Is(err, mooncakestore.ErrInvalidArgument) {
		t.Errorf("%v", err)
	}
}

func TestBatchesAreByAddress(t *testing.T) {
	store := newStore(t)
	from, into := []byte(strings.Repeat("x", 5000)), make([]byte, 5000)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&from[0])
	pinner.Pin(&into[0])
	source, target := uintptr(unsafe.Pointer(&from[0])), uintptr(unsafe.Pointer(&into[0]))
	must(t, store.RegisterBuffer(source, 5000))
	results, err := store.BatchPutFrom([]string{"a", "b"}, []uintptr{source, source}, []uint64{5000, 100}, nil)
	must(t, err)
	if results[0] != 0 || results[1] != 0 {
		t.Errorf("%v", results)
	}
	must(t, store.PutFrom("c", source, 10, nil))
	counts, err := store.BatchGetInto([]string{"a", "nobody"}, []uintptr{target, target}, []uint64{5000, 5000})
	must(t, err)
	if counts[0] != 5000 || counts[1] != -704 || !bytes.Equal(from, into) {
		t.Errorf("%v", counts)
	}
	exist, err := store.BatchExists([]string{"a", "nobody"})
	must(t, err)
	if !exist[0] || exist[1] {
		t.Errorf("%v", exist)
	}
	must(t, store.UnregisterBuffer(source))
	if err := store.UnregisterBuffer(source); !errors.Is(err, mooncakestore.ErrUnregisterBuffer) {
		t.Errorf("%v", err)
	}
	removed, err := store.RemoveByRegex("^[ab]$", true)
	must(t, err)
	all, err := store.RemoveAll(true)
	must(t, err)
	if removed != 2 || all != 1 {
		t.Errorf("%d and %d removed", removed, all)
	}
	must(t, store.InitAll("tcp", "", 4<<20))
	if _, err := store.BatchGetInto([]string{"a"}, nil, nil); !errors.Is(err, mooncakestore.ErrInvalidArgument) {
		t.Errorf("%v", err)
	}
}

func TestAClosedStoreIsNone(t *testing.T) {
	store, err := mooncakestore.New()
	must(t, err)
	if err := store.Put("key", []byte("x"), nil); !errors.Is(err, mooncakestore.ErrPut) {
		t.Errorf("%v", err)
	}
	if err := store.HealthCheck(); !errors.Is(err, mooncakestore.ErrHealthCheck) {
		t.Errorf("%v", err)
	}
	store.Close()
	store.Close()
	if err := store.Put("key", []byte("x"), nil); !errors.Is(err, mooncakestore.ErrStoreNil) {
		t.Errorf("%v", err)
	}
}
