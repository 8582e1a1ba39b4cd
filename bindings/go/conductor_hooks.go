// Hooks of a conductor: rules of the caller's own.

package mooncake

import (
	"slices"
	"time"
	"unsafe"

	"mooncake.dev/go/internal/capi"
)

// ConductorHooks are rules of the caller's own, nil being the built-in one. They are called from any goroutine that
// schedules or explains, possibly from several at once; while Cost, Score and Admission run, no other request of the
// model is decided. A hook may not call the conductor. One that returns an error or panics has failed, and so has one
// that takes longer than Budget; after StrikeLimit failures in a row it is switched off for good.
type ConductorHooks struct {
	// Cost may change Queue, Recompute, Transfer and Rest of the candidates, to numbers from 0 on.
	Cost func(asked *Asked, candidates []Candidate) error
	// Score writes a price for each candidate; the lowest wins, and infinity is not this one.
	Score func(asked *Asked, candidates []Candidate, prices []float64) error
	// Admission gets what the built-in one says, nil being that the request runs, and returns what is to be.
	Admission func(asked *Asked, prospect *Prospect, rejection *Rejection) (*Rejection, error)
	// Replicate gets what is advised, nil being nothing, and returns what is to be.
	Replicate func(asked *Asked, found []Match, advised *Copying) (*Copying, error)
	// Budget is what a call may take; 0: a millisecond. StrikeLimit is 3 by default.
	Budget      time.Duration
	StrikeLimit int
}

// Asked is the request that a hook is asked about.
type Asked struct {
	Model, Name            string
	InputTokens            uint64
	Blocks                 int
	Priority, ServiceClass int
	// OutputTokens are 0 if not known.
	OutputTokens int
}

// Candidate is one rank of an instance with its numbers for a request, in seconds. It is laid out as in C.
type Candidate struct {
	Instance InstanceID
	Rank     uint32
	// Local blocks of the prefix it has, and Reach it would have after some were moved from Source, 0 being the store.
	Local      uint32
	Source     InstanceID
	SourceRank uint32
	Reach      uint32
	// Queue is the wait until it begins, of which Doubt is there because it is silent or failed lately.
	Queue, Doubt float64
	// Recompute is the prefill with what it has; Transfer comes on top of the queue, and Rest is the prefill after it.
	Recompute, Transfer, Rest float64
}

// The same layout has the same size: one of these arrays has a negative length otherwise.
var (
	_ [unsafe.Sizeof(Candidate{}) - unsafe.Sizeof(capi.ConductorCandidate{})]struct{}
	_ [unsafe.Sizeof(capi.ConductorCandidate{}) - unsafe.Sizeof(Candidate{})]struct{}
)

// Prospect is what a decision comes to, before it is made. A load of 1 is as much as the class allows.
type Prospect struct {
	Chosen *Candidate
	// Decode is 0 if nobody decodes.
	Decode     InstanceID
	DecodeRank int
	TTFT, TBT  time.Duration
	// Loads of prefill with the request, of decode now, and of decode when the prefill ends.
	PrefillLoad, DecodeLoad, DecodeForeseen float64
}

// Copying is blocks of a prompt that should be copied, those from From on, before To.
type Copying struct {
	Sender, Receiver Place
	From, To         int
}

func askedOf(raw *capi.ConductorAsked) *Asked {
	return &Asked{
		raw.Model, raw.Name, raw.InputTokens, int(raw.Blocks), int(raw.Priority), int(raw.ServiceClass),
		int(raw.OutputTokens),
	}
}

func candidatesOf(raw []capi.ConductorCandidate) []Candidate {
	return unsafe.Slice((*Candidate)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw))
}

func (h ConductorHooks) raw() capi.ConductorHooks {
	raw := capi.ConductorHooks{BudgetUs: uint64(h.Budget / time.Microsecond), StrikeLimit: uint32(h.StrikeLimit)}
	if h.Cost != nil {
		raw.Cost = func(asked *capi.ConductorAsked, candidates []capi.ConductorCandidate) bool {
			return h.Cost(askedOf(asked), candidatesOf(candidates)) == nil
		}
	}
	if h.Score != nil {
		raw.Score = func(asked *capi.ConductorAsked, candidates []capi.ConductorCandidate, prices []float64) bool {
			return h.Score(askedOf(asked), candidatesOf(candidates), prices) == nil
		}
	}
	if h.Admission != nil {
		raw.Admission = h.admit
	}
	if h.Replicate != nil {
		raw.Replicate = h.replicate
	}
	return raw
}

func (h ConductorHooks) admit(asked *capi.ConductorAsked, prospect *capi.ConductorProspect, told *capi.ConductorRejection) bool {
	rejection, err := h.Admission(askedOf(asked), &Prospect{
		(*Candidate)(unsafe.Pointer(prospect.Chosen)), InstanceID(prospect.Decode), int(prospect.DecodeRank),
		seconds(prospect.TTFT), seconds(prospect.TBT), prospect.PrefillLoad, prospect.DecodeLoad, prospect.DecodeForeseen,
	}, rejectionOf(*told))
	if err != nil {
		return false
	}
	*told = capi.ConductorRejection{}
	if rejection != nil {
		// A reason that is none of ours is a rule's.
		reason := max(slices.Index(reasons[:], rejection.Reason), 0)
		if reason == 0 {
			reason = len(reasons) - 1
		}
		*told = capi.ConductorRejection{
			Reason: uint32(reason), RetryAfterMs: uint32(rejection.RetryAfter / time.Millisecond),
			Load: rejection.Load, Limit: rejection.Limit,
		}
	}
	return true
}

func (h ConductorHooks) replicate(asked *capi.ConductorAsked, found []capi.ConductorMatch, told *capi.ConductorCopy) bool {
	var advised *Copying
	if told.To != 0 {
		advised = &Copying{
			Place{Instance: InstanceID(told.Sender), Rank: int(told.SenderRank)},
			Place{Instance: InstanceID(told.Receiver), Rank: int(told.ReceiverRank)}, int(told.From), int(told.To),
		}
	}
	copying, err := h.Replicate(askedOf(asked), matchesOf(found), advised)
	if err != nil {
		return false
	}
	*told = capi.ConductorCopy{}
	if copying != nil {
		*told = capi.ConductorCopy{
			Sender: uint64(copying.Sender.Instance), Receiver: uint64(copying.Receiver.Instance),
			SenderRank: uint32(copying.Sender.Rank), ReceiverRank: uint32(copying.Receiver.Rank),
			From: uint32(copying.From), To: uint32(copying.To),
		}
	}
	return true
}
