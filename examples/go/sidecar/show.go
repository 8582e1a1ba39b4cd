package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	showBlock    = 16
	showRequests = 60
	showRouters  = 6
)

// show runs engines, the sidecar and routers in this process, all of which speak HTTP with one another.
func show() error {
	names := []string{"node-1", "node-2"}
	sidecar, err := newSidecar("toy", showBlock, names)
	if err != nil {
		return err
	}
	defer sidecar.close()
	sidecarURL, end, err := host(sidecar.handler())
	if err != nil {
		return err
	}
	defer end()
	engines := map[string]string{}
	for _, name := range names {
		engine := &engine{name: name, sidecar: sidecarURL, keys: sidecar.keys, cached: map[uint64]bool{}}
		url, end, err := host(engine)
		if err != nil {
			return err
		}
		defer end()
		engines[name] = url
	}
	fmt.Println("sidecar:", sidecarURL)
	return drive(sidecarURL, engines)
}

// host serves on a port that the kernel gives.
func host(handler http.Handler) (url string, end func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	return "http://" + listener.Addr().String(), func() { server.Close() }, nil
}

// keys are those that an engine names its blocks by.
func (s *sidecar) keys(tokens []uint32) ([]uint64, error) { return s.conductor.Hash(s.context, tokens) }

// engine is a toy: it "prefills" what it has not cached, and tells the sidecar what it has then.
type engine struct {
	name, sidecar string
	keys          func(tokens []uint32) ([]uint64, error)
	mutex         sync.Mutex
	cached        map[uint64]bool
}

type generated struct {
	Cached int `json:"cached"`
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var tokens []uint32
	if err := json.NewDecoder(r.Body).Decode(&tokens); err != nil {
		tell(w, answer{http.StatusBadRequest, map[string]string{"error": err.Error()}})
		return
	}
	cached, err := e.prefill(tokens)
	if err != nil {
		tell(w, failed(err))
		return
	}
	tell(w, answer{http.StatusOK, generated{cached}})
}

func (e *engine) prefill(tokens []uint32) (cached int, err error) {
	keys, err := e.keys(tokens)
	if err != nil {
		return 0, err
	}
	e.mutex.Lock()
	for cached < len(keys) && e.cached[keys[cached]] {
		cached++
	}
	for _, key := range keys {
		e.cached[key] = true
	}
	e.mutex.Unlock()
	time.Sleep(time.Duration(len(keys)-cached) * 50 * time.Microsecond)
	return cached, call(e.sidecar+"/events", eventsBody{Instance: e.name, Stored: keys[cached:]}, nil)
}

// call posts JSON, and reads the answer into `into` unless that is nil.
func call(url string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	response, err := http.Post(url, "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, said)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(said, into)
}

// tally is what came of all requests.
type tally struct {
	mutex                   sync.Mutex
	sent                    map[string]int
	blocks, promised, found int
}

// drive routes requests of a few chats, from several routers at once.
func drive(sidecar string, engines map[string]string) error {
	total := &tally{sent: map[string]int{}}
	failures := make(chan error, showRouters)
	for router := 0; router < showRouters; router++ {
		go func(router int) { failures <- routeAll(router, sidecar, engines, total) }(router)
	}
	var err error
	for router := 0; router < showRouters; router++ {
		err = errors.Join(err, <-failures)
	}
	if err != nil {
		return err
	}
	for name := range engines {
		fmt.Printf("%s served %d requests\n", name, total.sent[name])
	}
	fmt.Printf("of %d blocks the sidecar foresaw %d in a cache, and the engines had %d\n", total.blocks, total.promised, total.found)
	if err := checkHealth(sidecar); err != nil {
		return err
	}
	if total.found*2 < total.blocks {
		return errors.New("the caches were of little use")
	}
	return nil
}

// routeAll plays one chat whose prompt grows, as a router sees it.
func routeAll(router int, sidecar string, engines map[string]string, total *tally) error {
	tokens := make([]uint32, 32*showBlock)
	for i := range tokens {
		tokens[i] = uint32(router%3*1000 + i)
	}
	for number := 0; number < showRequests/showRouters; number++ {
		id := fmt.Sprintf("%d/%d", router, number)
		for i := 0; i < 3*showBlock; i++ {
			tokens = append(tokens, uint32(router*100000+number*1000+i))
		}
		if err := route(id, tokens, sidecar, engines, total); err != nil {
			return fmt.Errorf("request %s: %w", id, err)
		}
	}
	return nil
}

func route(id string, tokens []uint32, sidecar string, engines map[string]string, total *tally) error {
	var where scheduled
	if err := call(sidecar+"/schedule", scheduleBody{RequestID: id, Tokens: tokens, OutputTokens: 10}, &where); err != nil {
		return err
	}
	tellSidecar := func(what string) error {
		return call(sidecar+"/feedback", feedbackBody{RequestID: id, What: what}, nil)
	}
	var done generated
	if err := tellSidecar("started"); err != nil {
		return err
	}
	if err := call(engines[where.Prefill], tokens, &done); err != nil {
		return errors.Join(err, tellSidecar("failed"))
	}
	if err := errors.Join(tellSidecar("first_token"), tellSidecar("finished")); err != nil {
		return err
	}
	total.mutex.Lock()
	defer total.mutex.Unlock()
	total.sent[where.Prefill]++
	total.blocks += where.Blocks
	total.promised += where.Reused
	total.found += done.Cached
	return nil
}

// checkHealth asks whether all requests have ended, and that one of that name is not known any more.
func checkHealth(sidecar string) error {
	response, err := http.Get(sidecar + "/health")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var health struct{ Instances, Requests, Blocks uint64 }
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil {
		return err
	}
	fmt.Printf("health: %d instances, %d requests, %d blocks\n", health.Instances, health.Requests, health.Blocks)
	if health.Requests != 0 || health.Blocks == 0 {
		return errors.New("requests are left, or nothing was cached")
	}
	err = call(sidecar+"/feedback", feedbackBody{RequestID: "0/0", What: "finished"}, nil)
	if err == nil {
		return errors.New("a request ended twice")
	}
	return nil
}
