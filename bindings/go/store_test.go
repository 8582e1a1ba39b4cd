// Store, masters and nodes: objects put, got, listed, copied and removed.

package mooncake_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"mooncake.dev/go"
)

func newStore(t *testing.T) *mooncake.Store {
	t.Helper()
	store, err := mooncake.OpenStore(&mooncake.StoreOptions{NoEnvironment: true, MemoryBytes: 16 << 20})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	return store
}

func content(length, seed int) []byte {
	value := make([]byte, length)
	for i := range value {
		value[i] = byte(i*7 + i/251 + seed)
	}
	return value
}

func TestAnObjectIsPutAndGot(t *testing.T) {
	ctx, store, value := guarded(t), newStore(t), content(100000, 1)
	put, err := store.Put(ctx, "key", value, nil)
	must(t, err)
	got, err := store.Get(ctx, "key", nil)
	must(t, err)
	size, err := store.Size(ctx, "key")
	must(t, err)
	if put.Version == 0 || !bytes.Equal(got, value) || size != 100000 {
		t.Errorf("%+v, %d bytes of %d", put, len(got), size)
	}
	part := make([]byte, 50)
	must(t, store.GetRange(ctx, "key", 70000, part, nil))
	if !bytes.Equal(part, value[70000:70050]) {
		t.Error("the range is another's")
	}
	_, err = store.Put(ctx, "key", value, nil)
	mustFail(t, err, mooncake.ErrAlreadyExists)
	_, err = store.Put(ctx, "key", []byte("new"), &mooncake.PutOptions{Upsert: true})
	must(t, err)
	got, err = store.Get(ctx, "key", &mooncake.GetOptions{Fresh: true})
	must(t, err)
	if string(got) != "new" {
		t.Errorf("%q", got)
	}
	must(t, store.Remove(ctx, "key", false))
	_, err = store.Get(ctx, "key", nil)
	mustFail(t, err, mooncake.ErrNotFound)
	_, err = store.Put(ctx, "", value, nil)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestManyKeysHaveOneResultEach(t *testing.T) {
	ctx, store := guarded(t), newStore(t)
	first, second := content(1000, 1), content(200000, 2)
	results, err := store.PutBatch(ctx, []mooncake.StorePut{
		{Key: "a", Pieces: [][]byte{first[:400], first[400:]}}, {Key: "b\x00\xff", Pieces: [][]byte{second}},
	}, nil)
	must(t, err)
	for i := range results {
		must(t, results[i].Err())
	}
	whole, part := make([]byte, 1000), make([]byte, 60)
	results, err = store.GetBatch(ctx, []mooncake.StoreGet{
		{Key: "a", Pieces: [][]byte{whole[:10], whole[10:]}},
		{Key: "b\x00\xff", Ranges: []mooncake.StoreRange{{Offset: 123456, Into: part[:50]}, {Offset: 0, Into: part[50:]}}},
		{Key: "c", Pieces: [][]byte{make([]byte, 10)}},
	}, nil)
	must(t, err)
	if !bytes.Equal(whole, first) || !bytes.Equal(part[:50], second[123456:123506]) || !bytes.Equal(part[50:], second[:10]) {
		t.Error("other bytes came back")
	}
	if results[0].Err() != nil || results[1].Size != 200000 || results[2].Status != mooncake.ErrNotFound {
		t.Errorf("%+v", results)
	}
	results, err = store.ExistsBatch(ctx, []string{"a", "c"}, true)
	must(t, err)
	if results[0].Replicas != 1 || results[1].Status != mooncake.ErrNotFound {
		t.Errorf("%+v", results)
	}
	mustFail(t, store.Remove(ctx, "a", true), mooncake.ErrBusy)
	results, err = store.RemoveBatch(ctx, []string{"a", "c"}, false)
	must(t, err)
	if results[0].Err() != nil || results[1].Status != mooncake.ErrNotFound {
		t.Errorf("%+v", results)
	}
	_, err = store.GetBatch(ctx, nil, nil)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestKeysAreListedAndRemovedTogether(t *testing.T) {
	ctx, store := guarded(t), newStore(t)
	for i := 0; i < 100; i++ {
		_, err := store.Put(ctx, fmt.Sprintf("list/%d", i), []byte("x"), nil)
		must(t, err)
	}
	count := func() (seen int) {
		must(t, store.List(ctx, "list/", "", func(mooncake.StoreObject) bool { seen++; return true }))
		return seen
	}
	if count() != 100 {
		t.Errorf("%d keys", count())
	}
	removed, busy, err := store.RemoveMatching(ctx, "list/", "[0-4]$", false)
	must(t, err)
	if removed != 50 || busy != 0 || count() != 50 {
		t.Errorf("%d removed, %d busy, %d left", removed, busy, count())
	}
	mustFail(t, store.List(ctx, "", "[", nil), mooncake.ErrInvalidArgument)
}

func TestObjectsAreWrittenAndReadPieceByPiece(t *testing.T) {
	ctx, store, value := guarded(t), newStore(t), content(300000, 3)
	writings, results, err := store.BeginPut(ctx, []mooncake.StoreSize{{"layers", 300000}, {"given up", 10}, {"", 1}}, nil)
	if err == nil {
		t.Fatalf("an empty key began: %+v", results)
	}
	writings, results, err = store.BeginPut(ctx, []mooncake.StoreSize{{"layers", 300000}, {"given up", 10}}, nil)
	must(t, err)
	for _, at := range []int{200000, 0, 100000} {
		_, err = writings[0].Commit(ctx)
		mustFail(t, err, mooncake.ErrInvalidState)
		must(t, writings[0].Write(ctx, uint64(at), value[at:at+100000]))
	}
	committed, err := writings[0].Commit(ctx)
	must(t, err)
	must(t, writings[0].Close())
	must(t, writings[1].Close())
	if committed.Version == 0 || results[1].Err() != nil {
		t.Errorf("%+v", committed)
	}
	readings, results, err := store.BeginGet(ctx, []string{"layers", "given up"}, nil)
	must(t, err)
	if readings[1] != nil || results[1].Status != mooncake.ErrNotFound || results[0].Size != 300000 {
		t.Errorf("%+v", results)
	}
	layer := make([]byte, 100000)
	must(t, readings[0].Read(ctx, 100000, layer))
	must(t, readings[0].Close())
	if !bytes.Equal(layer, value[100000:200000]) {
		t.Error("the layer is another's")
	}
	mustFail(t, readings[0].Read(ctx, 0, layer), mooncake.ErrInvalidHandle)
}

func TestReplicasAreCopiedMovedAndDrained(t *testing.T) {
	ctx := guarded(t)
	master, err := mooncake.NewMaster(&mooncake.MasterOptions{Found: true, Eviction: "lru"})
	must(t, err)
	defer master.Close()
	info, err := master.Info()
	must(t, err)
	var nodes []*mooncake.Node
	for _, name := range []string{"first", "second"} {
		node, err := mooncake.NewNode(&mooncake.NodeOptions{
			Masters: []string{info.Address}, MemoryBytes: 8 << 20, Name: name, Domain: name, NoEnvironment: true,
		})
		must(t, err)
		defer node.Close()
		nodes = append(nodes, node)
	}
	store, err := mooncake.OpenStore(&mooncake.StoreOptions{Masters: []string{info.Address}, NoEnvironment: true})
	must(t, err)
	defer store.Close()
	for open := 0; open < 2; time.Sleep(5 * time.Millisecond) {
		segments, err := store.Segments(ctx)
		must(t, err)
		open = 0
		for _, segment := range segments {
			if segment.Open {
				open++
			}
		}
	}
	value := content(100000, 5)
	_, err = store.Put(ctx, "key", value, &mooncake.PutOptions{Preferred: []string{"first"}, Group: "g", SoftPin: time.Minute})
	must(t, err)
	task, err := store.Copy(ctx, "key", "second")
	must(t, err)
	done, err := task.Wait(ctx)
	must(t, err)
	if done.State != mooncake.TaskDone || done.MovedObjects != 1 {
		t.Errorf("%+v", done)
	}
	trimmed, err := store.Trim(ctx, "key", 1)
	must(t, err)
	usage, err := store.Usage(ctx, "")
	must(t, err)
	if trimmed != 1 || usage.Objects != 1 || usage.QuotaBytes != mooncake.NoQuota {
		t.Errorf("%d trimmed, %+v", trimmed, usage)
	}
	must(t, store.SetQuota(ctx, "", 1))
	_, err = store.Put(ctx, "more", value, nil)
	mustFail(t, err, mooncake.ErrQuotaExceeded)
	must(t, store.SetQuota(ctx, "", mooncake.NoQuota))
	must(t, nodes[0].Drain(ctx))
	got, err := store.Get(ctx, "key", nil)
	must(t, err)
	if !bytes.Equal(got, value) {
		t.Error("other bytes came back")
	}
	_, err = store.Task(12345).Info(ctx)
	mustFail(t, err, mooncake.ErrNotFound)
	_, err = mooncake.NewNode(nil)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestAStoreEndsWithItsContextAndItsClose(t *testing.T) {
	store := newStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := store.Put(ctx, "key", []byte("x"), nil)
	if err != context.Canceled {
		t.Errorf("%v", err)
	}
	_, err = store.Exists(ctx, "key")
	if err != context.Canceled {
		t.Errorf("%v", err)
	}
	must(t, store.Close())
	_, err = store.Exists(context.Background(), "key")
	mustFail(t, err, mooncake.ErrInvalidHandle)
	_, err = mooncake.OpenStore(&mooncake.StoreOptions{Masters: []string{"a,,b"}})
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestViewsAreObjectsInMemoryOfTheLibrarys(t *testing.T) {
	ctx, store, value := guarded(t), newStore(t), content(70000, 3)
	_, err := store.Put(ctx, "key", value, nil)
	must(t, err)
	view, err := store.GetView(ctx, "key", nil)
	must(t, err)
	if !bytes.Equal(view.Bytes(), value) {
		t.Error("other bytes")
	}
	must(t, view.Release())
	mustFail(t, view.Release(), mooncake.ErrInvalidHandle)
	_, err = store.GetView(ctx, "nobody", nil)
	mustFail(t, err, mooncake.ErrNotFound)
	views, results, err := store.GetViews(ctx, []string{"nobody", "key"}, nil)
	must(t, err)
	if views[0] != nil || results[0].Status != mooncake.ErrNotFound || !bytes.Equal(views[1].Bytes(), value) {
		t.Errorf("%+v", results)
	}
	must(t, views[1].Release())
}

func TestBatchesInTheBackgroundCompleteIntoAQueue(t *testing.T) {
	ctx, engine := guarded(t), newEngine(t, "")
	store, err := mooncake.OpenStore(&mooncake.StoreOptions{NoEnvironment: true, MemoryBytes: 16 << 20, Engine: engine})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	queue, err := engine.NewQueue(0)
	must(t, err)
	value := content(100000, 5)
	ended := func() *mooncake.Completion {
		completions := make([]mooncake.Completion, 1)
		_, err := queue.Wait(ctx, completions)
		must(t, err)
		return &completions[0]
	}
	put, err := store.SubmitPut(ctx, []mooncake.StorePut{{Key: "key", Pieces: [][]byte{value[:10], value[10:]}}}, nil, queue, 7)
	must(t, err)
	_, err = put.Results(&mooncake.Completion{})
	mustFail(t, err, mooncake.ErrInvalidArgument)
	results, err := put.Results(ended())
	must(t, err)
	if len(results) != 1 || results[0].Status != mooncake.OK || results[0].Version == 0 {
		t.Errorf("%+v", results)
	}
	into, missing := make([]byte, 100000), make([]byte, 1)
	get, err := store.SubmitGet(ctx, []mooncake.StoreGet{
		{Key: "key", Ranges: []mooncake.StoreRange{{Offset: 0, Into: into}}}, {Key: "nobody", Pieces: [][]byte{missing}},
	}, nil, queue, 8)
	must(t, err)
	done := ended()
	results, err = get.Results(done)
	must(t, err)
	if done.Status != mooncake.ErrNotFound || results[0].Status != mooncake.OK || results[1].Status != mooncake.ErrNotFound ||
		!bytes.Equal(into, value) {
		t.Errorf("%+v, %+v", done, results)
	}
	_, err = store.SubmitPut(ctx, []mooncake.StorePut{{Key: "", Pieces: [][]byte{value}}}, nil, queue, 9)
	mustFail(t, err, mooncake.ErrInvalidArgument)
}
