package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"mooncake.dev/go"
)

// Most bytes of a body: a prompt of a million tokens.
const mostBytes = 16 << 20

// sidecar is a conductor behind HTTP.
type sidecar struct {
	conductor *mooncake.Conductor
	context   mooncake.ContextID
	stop      chan struct{}
	swept     sync.WaitGroup
}

func newSidecar(model string, blockSize int, names []string) (*sidecar, error) {
	conductor, err := mooncake.NewConductor(&mooncake.ConductorOptions{Name: "sidecar", Admission: "predicted"})
	if err != nil {
		return nil, err
	}
	s := &sidecar{conductor: conductor, stop: make(chan struct{})}
	for _, name := range names {
		instance := mooncake.Instance{Name: name, Model: model, Role: mooncake.RoleBoth, BlockSize: blockSize}
		if _, err := conductor.Register(instance); err != nil {
			conductor.Close()
			return nil, err
		}
	}
	if s.context, err = conductor.OpenContext(mooncake.ContextOptions{Model: model, BlockSize: blockSize}); err != nil {
		conductor.Close()
		return nil, err
	}
	s.swept.Add(1)
	go s.sweep()
	return s, nil
}

func (s *sidecar) sweep() {
	defer s.swept.Done()
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			s.conductor.Sweep()
		case <-s.stop:
			return
		}
	}
}

func (s *sidecar) close() {
	close(s.stop)
	s.swept.Wait()
	s.conductor.Close()
}

func (s *sidecar) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/schedule", post(s.schedule))
	mux.HandleFunc("/feedback", post(s.feedback))
	mux.HandleFunc("/events", post(s.events))
	mux.HandleFunc("/explain", s.explain)
	mux.HandleFunc("/health", s.health)
	mux.HandleFunc("/metrics", s.metrics)
	return mux
}

// answer is what a call says: a status, and JSON.
type answer struct {
	status int
	body   any
}

// post makes a handler of a function that takes the body as JSON.
func post[T any](call func(w http.ResponseWriter, body *T) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			tell(w, answer{http.StatusMethodNotAllowed, map[string]string{"error": "POST it"}})
			return
		}
		var body T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBytes))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil {
			tell(w, answer{http.StatusBadRequest, map[string]string{"error": err.Error()}})
			return
		}
		said, err := call(w, &body)
		if err != nil {
			said = failed(err)
		}
		tell(w, said)
	}
}

func tell(w http.ResponseWriter, said answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(said.status)
	json.NewEncoder(w).Encode(said.body)
}

func failed(err error) answer {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, mooncake.ErrInvalidArgument):
		status = http.StatusBadRequest
	case errors.Is(err, mooncake.ErrNotFound), errors.Is(err, mooncake.ErrInvalidHandle):
		status = http.StatusNotFound
	case errors.Is(err, mooncake.ErrAlreadyExists), errors.Is(err, mooncake.ErrInvalidState):
		status = http.StatusConflict
	case errors.Is(err, mooncake.ErrNotReady), errors.Is(err, mooncake.ErrExhausted):
		status = http.StatusServiceUnavailable
	}
	return answer{status, map[string]string{"error": err.Error()}}
}

type scheduleBody struct {
	RequestID    string   `json:"request_id"`
	Tokens       []uint32 `json:"tokens"`
	Keys         []uint64 `json:"keys"`
	InputTokens  uint64   `json:"input_tokens"`
	OutputTokens uint32   `json:"output_tokens"`
	Priority     int      `json:"priority"`
	Class        int      `json:"class"`
}

type scheduled struct {
	Prefill string  `json:"prefill"`
	Rank    int     `json:"rank"`
	Decode  string  `json:"decode"`
	Blocks  int     `json:"blocks"`
	Reused  int     `json:"reused"`
	Moved   int     `json:"moved"`
	TTFT    float64 `json:"ttft"`
}

func (s *sidecar) schedule(w http.ResponseWriter, body *scheduleBody) (answer, error) {
	if body.RequestID == "" {
		return answer{http.StatusBadRequest, map[string]string{"error": "request_id is missing"}}, nil
	}
	decision, err := s.conductor.Schedule(&mooncake.ScheduleRequest{
		Context: s.context, Tokens: body.Tokens, Keys: body.Keys, InputTokens: body.InputTokens,
		OutputTokens: body.OutputTokens, Priority: body.Priority, Class: body.Class, Name: body.RequestID,
	})
	if err != nil {
		return answer{}, err
	}
	if rejection := decision.Rejection; rejection != nil {
		// Whole seconds are all that the header knows.
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(rejection.RetryAfter.Seconds()))))
		text := fmt.Sprintf("too much %s: a load of %.2f, and %.2f is the limit", rejection.Reason, rejection.Load, rejection.Limit)
		return answer{http.StatusTooManyRequests, map[string]string{"error": text}}, nil
	}
	return answer{http.StatusOK, scheduled{
		decision.Prefill.Name, decision.Prefill.Rank, decision.Decode.Name, decision.Blocks, decision.Reused,
		decision.Moved, decision.TTFT.Seconds(),
	}}, nil
}

type feedbackBody struct {
	RequestID string `json:"request_id"`
	What      string `json:"what"`
}

var feedbacks = map[string]mooncake.Feedback{
	"started": mooncake.FeedbackStarted, "first_token": mooncake.FeedbackFirstToken, "finished": mooncake.FeedbackFinished,
	"failed": mooncake.FeedbackFailed, "canceled": mooncake.FeedbackCanceled,
}

func (s *sidecar) feedback(_ http.ResponseWriter, body *feedbackBody) (answer, error) {
	what, ok := feedbacks[body.What]
	if !ok {
		text := fmt.Sprintf("what is %q: started, first_token, finished, failed or canceled", body.What)
		return answer{http.StatusBadRequest, map[string]string{"error": text}}, nil
	}
	id, err := s.conductor.FindRequest(body.RequestID)
	if err == nil {
		err = s.conductor.Feedback(id, what)
	}
	return answer{http.StatusOK, struct{}{}}, err
}

type eventsBody struct {
	Instance string   `json:"instance"`
	Rank     int      `json:"rank"`
	Stored   []uint64 `json:"stored"`
	Removed  []uint64 `json:"removed"`
}

func (s *sidecar) events(_ http.ResponseWriter, body *eventsBody) (answer, error) {
	id, err := s.conductor.FindInstance(body.Instance)
	if err != nil {
		return answer{}, err
	}
	event := func(change mooncake.Change, keys []uint64) mooncake.BlockEvent {
		return mooncake.BlockEvent{Instance: id, Rank: body.Rank, Change: change, Tier: mooncake.TierDevice, Keys: keys}
	}
	_, err = s.conductor.Apply(s.context, []mooncake.BlockEvent{
		event(mooncake.ChangeStored, body.Stored), event(mooncake.ChangeRemoved, body.Removed),
	})
	return answer{http.StatusOK, struct{}{}}, err
}

func (s *sidecar) explain(w http.ResponseWriter, r *http.Request) {
	id, err := s.conductor.FindRequest(r.URL.Query().Get("request_id"))
	if err == nil {
		var text string
		if text, err = s.conductor.Explain(id); err == nil {
			tell(w, answer{http.StatusOK, json.RawMessage(text)})
			return
		}
	}
	tell(w, failed(err))
}

func (s *sidecar) health(w http.ResponseWriter, _ *http.Request) {
	info, err := s.conductor.Info()
	if err != nil {
		tell(w, failed(err))
		return
	}
	tell(w, answer{http.StatusOK, map[string]uint64{
		"instances": info.Instances, "requests": info.Requests, "blocks": info.Blocks,
	}})
}

func (s *sidecar) metrics(w http.ResponseWriter, _ *http.Request) {
	text, err := s.conductor.Metrics()
	if err != nil {
		tell(w, failed(err))
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	w.Write([]byte(text))
}
