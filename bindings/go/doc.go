// Package mooncake moves KV caches between the memories of processes: registered memory here, registered memory
// there, batches of reads and writes between them.
//
//	engine, err := mooncake.New(nil)             // one end of transfers
//	memory, err := engine.Allocate(1<<20, nil)   // memory it may use
//	peer, err := engine.Open(ctx, "10.0.0.7:12001")
//	regions, err := peer.Regions()
//	err = engine.Transfer(ctx, []mooncake.Request{
//		{Op: mooncake.Read, Segment: peer, Remote: regions[0].Address, Local: memory.Bytes()},
//	}, nil)
//
// A pooled cache of objects stands on it:
//
//	store, err := mooncake.OpenStore(nil)        // all of it in this process, or Masters of a cluster
//	_, err = store.Put(ctx, "prompt/0", block, nil)
//	block, err = store.Get(ctx, "prompt/0", nil)
//
// And a scheduler, which needs neither, says where requests should run:
//
//	conductor, err := mooncake.NewConductor(nil)
//	decision, err := conductor.Schedule(&mooncake.ScheduleRequest{Context: model, Tokens: prompt})
//
// # Errors
//
// Every error of the library is an *[Error] with a [Code] and a text that says what happened to whom. Codes are
// errors themselves: errors.Is(err, mooncake.ErrTimeout). A call that ends because its context did returns the
// context's error.
//
// # Handles
//
// Engines, segments, memory, batches and queues are closed with Close, in any order. A method of something that was
// closed, or whose engine was, fails with [ErrInvalidHandle]. All methods may be called from several goroutines.
//
// # Memory
//
// The library reads and writes memory while no Go code is looking, so it must not be memory that the garbage
// collector owns: take it from [Engine.Allocate], or register memory of C, of the system, or pinned with
// runtime.Pinner by [Engine.RegisterPointer]. The race detector does not see what the library does. Calls of a [Store]
// take any memory: it is pinned until they return.
//
// # Building
//
// The package finds the library by pkg-config: PKG_CONFIG_PATH has to name the folder of mooncake.pc unless it was
// installed for the whole system.
package mooncake
