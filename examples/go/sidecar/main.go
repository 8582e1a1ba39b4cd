// A sidecar of a router: says over HTTP where requests should run.
//
//	sidecar LISTEN MODEL BLOCK_SIZE NAME...   serves on LISTEN for instances of these names, until it is told to end
//	sidecar                                   shows itself: two engines, the sidecar, and a router that asks it
//
//	POST /schedule   {"tokens": [...], "request_id": "r1"}  ->  {"prefill": "node-1", "decode": "node-1", "ttft": 0.21, ...}
//	                 429 with Retry-After: not taken on
//	POST /feedback   {"request_id": "r1", "what": "first_token"}     started, first_token, finished, failed, canceled
//	POST /events     {"instance": "node-1", "stored": [keys], "removed": [keys]}
//	GET  /explain    ?request_id=r1
//	GET  /health     GET /metrics
//
// It knows no secrets and asks for none: let it listen where only its router can reach it.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"time"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 1:
		err = show()
	case len(os.Args) >= 5:
		err = serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	default:
		fmt.Fprintln(os.Stderr, "usage: sidecar [LISTEN MODEL BLOCK_SIZE NAME...]")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

func serve(listen, model, size string, names []string) error {
	blockSize, err := strconv.Atoi(size)
	if err != nil {
		return fmt.Errorf("the block size is %q: %w", size, err)
	}
	sidecar, err := newSidecar(model, blockSize, names)
	if err != nil {
		return err
	}
	defer sidecar.close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println("sidecar: http://" + listener.Addr().String())
	server := &http.Server{Handler: sidecar.handler(), ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}
