// Conductor: where requests should run.

package mooncake

import (
	"errors"
	"time"

	"mooncake.dev/go/internal/capi"
)

// InstanceID is an instance until it is unregistered, ContextID a context until it is closed, and RequestID a request
// until its end was told. 0 is none.
type (
	InstanceID uint64
	ContextID  uint64
	RequestID  uint64
)

// Role is what an instance is to a conductor.
type Role uint32

// RoleHold is one that holds blocks and serves nothing: the store.
const (
	RolePrefill Role = 1
	RoleDecode  Role = 2
	RoleBoth    Role = 3
	RoleHold    Role = 4
)

// HashScheme is how an engine names its blocks.
type HashScheme uint32

// HashXXH3 is that of Mooncake's indexer, the others are vLLM's.
const (
	HashXXH3           HashScheme = 0
	HashVLLMSHA256CBOR HashScheme = 1
	HashVLLMSHA256     HashScheme = 2
)

// Change is what happened to blocks.
type Change uint32

// ChangeCleared is that of all blocks of a tier.
const (
	ChangeStored  Change = 1
	ChangeRemoved Change = 2
	ChangeCleared Change = 3
)

// Tier is where an instance has a block, nearest first.
type Tier uint32

// TierAll is for ChangeCleared; what anybody has in TierStore is in reach of all.
const (
	TierAll    Tier = 0
	TierDevice Tier = 1
	TierHost   Tier = 2
	TierDisk   Tier = 3
	TierStore  Tier = 4
)

// Feedback is what happened to a request.
type Feedback uint32

// FeedbackFinished, FeedbackFailed and FeedbackCanceled end it.
const (
	FeedbackStarted    Feedback = 1
	FeedbackFirstToken Feedback = 2
	FeedbackFinished   Feedback = 3
	FeedbackFailed     Feedback = 4
	FeedbackCanceled   Feedback = 5
)

const (
	conductorLateTransfers = 1
	conductorNoLearning    = 2
	verdictRejected        = 2
	sourceInstance         = 1
	sourceStore            = 2
)

// ServiceClass is what a class of requests is promised; 0 means default.
type ServiceClass struct {
	TTFT, TBT time.Duration
	// LoadLimit is the load up to which its requests are taken on.
	LoadLimit float64
}

// ConductorOptions say how a conductor decides; the zero value means default in every field.
type ConductorOptions struct {
	// Name is what it is called in metrics.
	Name string
	// Policy is "global", "local", "lb", "random" or "maxhit"; Admission is "none", "load", "early" or "predicted".
	Policy    string
	Admission string
	// BalancingThreshold moves blocks if the best prefix is so many times longer; 0: if that is faster.
	BalancingThreshold float64
	// LateTransfers begin when the request's turn has come.
	LateTransfers bool
	// NoLearning keeps predictions as they are, whatever requests really take.
	NoLearning bool
	Seed       uint64
	Classes    [4]ServiceClass
	// MostInGroup instances prefill one long request together.
	MostInGroup int
	// FitAfter so many observations an instance's numbers are those that fit them.
	FitAfter int
	// CopiedBlocksPerSecond are advised to be copied, at most; 0: none. UsesPerCopy is what one holder bears.
	CopiedBlocksPerSecond float64
	UsesPerCopy           float64
	// SilenceLimit is how long an instance may be silent and still be chosen while others are there.
	SilenceLimit time.Duration
	// Idle blocks are forgotten after so long.
	Idle time.Duration
	// ExplainCount decisions of each model are kept for Explain.
	ExplainCount int
	BlockLimit   uint64
	ContextLimit uint64
	RequestLimit uint64
	// Hooks are rules of the caller's own.
	Hooks ConductorHooks
}

// Conductor knows who has which blocks and how long everyone's queue is. All methods may be called from several
// goroutines.
type Conductor struct{ raw capi.Conductor }

// NewConductor makes one, which knows nobody yet. Nil options are all defaults.
func NewConductor(options *ConductorOptions) (*Conductor, error) {
	if options == nil {
		options = &ConductorOptions{}
	}
	idle, err := optionMilliseconds(options.Idle, "Idle")
	if err != nil {
		return nil, err
	}
	from := capi.ConductorOptions{
		Name: options.Name, Policy: options.Policy, Admission: options.Admission,
		Flags: flag(options.LateTransfers, conductorLateTransfers) | flag(options.NoLearning, conductorNoLearning),
		Seed:  options.Seed, MostInGroup: uint32(options.MostInGroup), FitAfter: uint32(options.FitAfter),
		BalancingThreshold: options.BalancingThreshold, CopiedPerSecond: options.CopiedBlocksPerSecond,
		UsesPerCopy: options.UsesPerCopy, SilenceLimit: options.SilenceLimit.Seconds(), IdleMs: idle,
		ExplainCount: uint32(options.ExplainCount), BlockLimit: options.BlockLimit, ContextLimit: options.ContextLimit,
		RequestLimit: options.RequestLimit, Hooks: options.Hooks.raw(),
	}
	for i, class := range options.Classes {
		from.Classes[i] = capi.ConductorClass{
			TTFT: class.TTFT.Seconds(), TBT: class.TBT.Seconds(), LoadLimit: class.LoadLimit,
		}
	}
	raw, failure := capi.ConductorCreate(&from)
	if failure != nil {
		return nil, asError(failure)
	}
	return &Conductor{raw}, nil
}

// Close ends the conductor with all it knows.
func (c *Conductor) Close() error { return asError(c.raw.Destroy()) }

// ConductorInfo says what a conductor is at the moment.
type ConductorInfo struct{ Instances, Contexts, Requests, Blocks, Decided, Rejected uint64 }

// Info tells what the conductor is.
func (c *Conductor) Info() (ConductorInfo, error) {
	raw, failure := c.raw.Info()
	return ConductorInfo(raw), asError(failure)
}

// Cost is what serving takes on one rank of an instance; seconds and bytes. Begin with Preset.
type Cost = capi.ConductorCost

// Preset gives the cost of "llama3-70b" on "a800" or "h800", eight of them; "" is the first of each.
func Preset(model, machine string) (Cost, error) {
	cost, failure := capi.ConductorPreset(model, machine)
	return cost, asError(failure)
}

// Instance is one to register.
type Instance struct {
	Name, Model string
	Role        Role
	// BlockSize is that of its engine, in tokens.
	BlockSize int
	// Ranks have a cache and a queue of their own each; 0: one.
	Ranks int
	// Cost of nil is that of LLaMA3-70B on eight A800.
	Cost *Cost
}

// Register takes an instance in; one that has the name already is changed to what is said now, and keeps its id.
func (c *Conductor) Register(instance Instance) (InstanceID, error) {
	id, failure := c.raw.Register(&capi.ConductorInstance{
		Name: instance.Name, Model: instance.Model, Role: uint32(instance.Role), BlockSize: uint32(instance.BlockSize),
		Ranks: uint32(instance.Ranks), Cost: instance.Cost,
	})
	return InstanceID(id), asError(failure)
}

// Unregister forgets an instance with what it has and what waits there.
func (c *Conductor) Unregister(name string) error { return asError(c.raw.Unregister(name)) }

// FindInstance finds an instance by its name.
func (c *Conductor) FindInstance(name string) (InstanceID, error) {
	id, failure := c.raw.FindInstance(name)
	return InstanceID(id), asError(failure)
}

// InstanceInfo says what an instance is.
type InstanceInfo struct {
	Name, Model      string
	Role             Role
	BlockSize, Ranks int
	Age              time.Duration
}

// Instance tells what an instance is.
func (c *Conductor) Instance(id InstanceID) (InstanceInfo, error) {
	raw, failure := c.raw.Instance(uint64(id))
	return InstanceInfo{
		raw.Name, raw.Model, Role(raw.Role), int(raw.BlockSize), int(raw.Ranks), time.Duration(raw.AgeMs) * time.Millisecond,
	}, asError(failure)
}

// Report is what one rank of an instance says of itself; nil fields are not said.
type Report struct {
	// Queue is how long a request sent now would wait.
	Queue *time.Duration
	// Decoding requests, with so many tokens together.
	Decoding *DecodingLoad
	// TBT is the time between tokens.
	TBT *time.Duration
}

// DecodingLoad is what decodes on a rank.
type DecodingLoad struct {
	Requests uint32
	Tokens   uint64
}

// Report takes in how one rank is.
func (c *Conductor) Report(id InstanceID, rank int, report Report) error {
	var raw capi.ConductorReport
	if report.Queue != nil {
		raw.Flags, raw.QueueSeconds = raw.Flags|1, report.Queue.Seconds()
	}
	if report.Decoding != nil {
		raw.Flags, raw.DecodingRequests, raw.DecodingTokens = raw.Flags|2, report.Decoding.Requests, report.Decoding.Tokens
	}
	if report.TBT != nil {
		raw.Flags, raw.TBTSeconds = raw.Flags|4, report.TBT.Seconds()
	}
	return asError(c.raw.Report(uint64(id), uint32(rank), &raw))
}

// ContextOptions are what must be equal for two prompts to share blocks.
type ContextOptions struct {
	Model     string
	BlockSize int
	Tenant    string
	LoRA      string
	Salt      string
	Hash      HashScheme
	// HashSeed is for HashXXH3, PythonHashSeed what PYTHONHASHSEED is where vLLM runs.
	HashSeed       uint64
	PythonHashSeed string
}

// OpenContext opens a context; one that is open already keeps its id.
func (c *Conductor) OpenContext(options ContextOptions) (ContextID, error) {
	id, failure := c.raw.OpenContext(&capi.ConductorContext{
		Model: options.Model, Tenant: options.Tenant, LoRA: options.LoRA, Salt: options.Salt,
		BlockSize: uint32(options.BlockSize), Hash: uint32(options.Hash), HashSeed: options.HashSeed,
		PythonHashSeed: options.PythonHashSeed, HasPythonHashSeed: options.PythonHashSeed != "",
	})
	return ContextID(id), asError(failure)
}

// CloseContext forgets a context and its blocks.
func (c *Conductor) CloseContext(id ContextID) error { return asError(c.raw.CloseContext(uint64(id))) }

// BlockEvent is what an engine or the store tells about its blocks.
type BlockEvent struct {
	Instance InstanceID
	Rank     int
	Change   Change
	Tier     Tier
	Keys     []uint64
}

// Apply takes events in, and tells how many were of instances that are not registered for the context.
func (c *Conductor) Apply(context ContextID, events []BlockEvent) (unknown int, err error) {
	raw := make([]capi.ConductorEvent, len(events))
	for i, event := range events {
		raw[i] = capi.ConductorEvent{
			Instance: uint64(event.Instance), Rank: uint32(event.Rank), Change: uint32(event.Change),
			Tier: uint32(event.Tier), Keys: event.Keys,
		}
	}
	_, count, failure := c.raw.Apply(uint64(context), raw)
	return int(count), asError(failure)
}

// Clear forgets all blocks of one rank: what it has will be told anew.
func (c *Conductor) Clear(id InstanceID, rank int) error {
	return asError(c.raw.Clear(uint64(id), uint32(rank)))
}

// Hash computes the keys of the full blocks of a prompt.
func (c *Conductor) Hash(context ContextID, tokens []uint32) ([]uint64, error) {
	keys, failure := c.raw.Hash(uint64(context), tokens)
	return keys, asError(failure)
}

// Match is what one rank of an instance has of a prompt, in blocks from its beginning.
type Match struct {
	Instance InstanceID
	Rank     int
	// Blocks by tier, each within this or a nearer one: device, host, disk, store.
	Blocks [4]uint32
	// Promised are its own with those on their way to it.
	Promised uint32
}

// Match tells what each rank has of the prompt of a request.
func (c *Conductor) Match(request *ScheduleRequest) ([]Match, error) {
	raw, failure := c.raw.Match(uint64(request.Context), request.Tokens, request.Keys)
	return matchesOf(raw), asError(failure)
}

func matchesOf(raw []capi.ConductorMatch) []Match {
	found := make([]Match, len(raw))
	for i, one := range raw {
		found[i] = Match{InstanceID(one.Instance), int(one.Rank), one.Blocks, one.Promised}
	}
	return found
}

// ScheduleRequest is a request. Its prompt is Tokens or Keys, those of its full blocks.
type ScheduleRequest struct {
	Context ContextID
	Tokens  []uint32
	Keys    []uint64
	// InputTokens of 0 are those of the prompt; OutputTokens of 0 are not known.
	InputTokens  uint64
	OutputTokens uint32
	// Priority and Class are 0 to 3.
	Priority, Class int
	// Name is one that no other live request has, or "".
	Name string
}

func (r *ScheduleRequest) raw() *capi.ConductorRequest {
	return &capi.ConductorRequest{
		Context: uint64(r.Context), Tokens: r.Tokens, Keys: r.Keys, InputTokens: r.InputTokens,
		OutputTokens: r.OutputTokens, Priority: uint32(r.Priority), ServiceClass: uint32(r.Class), Name: r.Name,
	}
}

// Place is one rank of an instance.
type Place struct {
	Instance InstanceID
	Rank     int
	// Name is told of those that prefill and decode.
	Name string
}

// Rejection says why a request is not taken on.
type Rejection struct {
	// Reason is "prefill", "decode" or "rule".
	Reason string
	// RetryAfter is when it is worth asking again.
	RetryAfter  time.Duration
	Load, Limit float64
}

var reasons = [...]string{"", "prefill", "decode", "rule"}

func rejectionOf(raw capi.ConductorRejection) *Rejection {
	if raw.Reason == 0 || int(raw.Reason) >= len(reasons) {
		return nil
	}
	return &Rejection{reasons[raw.Reason], time.Duration(raw.RetryAfterMs) * time.Millisecond, raw.Load, raw.Limit}
}

// Decision says where a request runs. Times are as predicted.
type Decision struct {
	// Rejection is nil of a request that runs; otherwise it is all there is.
	Rejection *Rejection
	Request   RequestID
	Prefill   Place
	// Decode has no instance if nobody decodes.
	Decode Place
	// Group prefill it with the chosen one.
	Group []Place
	// Blocks of the prompt; Reused of them need not be computed, of which Moved come from Source or the store.
	Blocks, Reused, Moved int
	Source                Place
	FromStore             bool
	ComputedTokens        uint64
	Queue, Transfer       time.Duration
	Compute, TTFT, TBT    time.Duration
	// Advised: TakeAdvice has something to copy.
	Advised bool
}

func seconds(count float64) time.Duration { return time.Duration(count * float64(time.Second)) }

// Schedule decides where a request runs. One that is not taken on is no error: the decision has its Rejection.
func (c *Conductor) Schedule(request *ScheduleRequest) (Decision, error) {
	raw, failure := c.raw.Schedule(request.raw())
	if failure != nil {
		return Decision{}, asError(failure)
	}
	if raw.Verdict == verdictRejected {
		return Decision{Rejection: rejectionOf(raw.Rejection)}, nil
	}
	decision := Decision{
		Request: RequestID(raw.Request), Prefill: Place{InstanceID(raw.Prefill), int(raw.PrefillRank), raw.PrefillName},
		Decode: Place{InstanceID(raw.Decode), int(raw.DecodeRank), raw.DecodeName},
		Blocks: int(raw.Blocks), Reused: int(raw.Reused), Moved: int(raw.Moved), FromStore: raw.SourceKind == sourceStore,
		ComputedTokens: raw.ComputedTokens, Queue: seconds(raw.Queue), Transfer: seconds(raw.Transfer),
		Compute: seconds(raw.Compute), TTFT: seconds(raw.TTFT), TBT: seconds(raw.TBT), Advised: raw.Advised,
	}
	if raw.SourceKind == sourceInstance {
		decision.Source = Place{Instance: InstanceID(raw.Source), Rank: int(raw.SourceRank)}
	}
	for i, id := range raw.Group {
		decision.Group = append(decision.Group, Place{Instance: InstanceID(id), Rank: int(raw.GroupRanks[i])})
	}
	return decision, nil
}

// Recheck says, with the admission "load" and when a prefill has ended, whether there is room to decode: nil then.
func (c *Conductor) Recheck(request RequestID) (*Rejection, error) {
	raw, failure := c.raw.Recheck(uint64(request))
	return rejectionOf(raw), asError(failure)
}

// FindRequest finds a live request by the name that it was given.
func (c *Conductor) FindRequest(name string) (RequestID, error) {
	id, failure := c.raw.FindRequest(name)
	return RequestID(id), asError(failure)
}

// Feedback tells what happened to a request. After its end its id is stale.
func (c *Conductor) Feedback(request RequestID, what Feedback) error {
	return asError(c.raw.Feedback(uint64(request), uint32(what)))
}

// Explain tells as JSON why a live request runs where it runs.
func (c *Conductor) Explain(request RequestID) (string, error) {
	text, failure := c.raw.Explain(uint64(request))
	return text, asError(failure)
}

// ExplainRequest does that for a request that nobody makes.
func (c *Conductor) ExplainRequest(request *ScheduleRequest) (string, error) {
	text, failure := c.raw.ExplainRequest(request.raw())
	return text, asError(failure)
}

// Advice is a copy that is worth making: the blocks Keys, of which the first is block From of its prompt.
type Advice struct {
	Context          ContextID
	Sender, Receiver Place
	From             int
	Keys             []uint64
}

// TakeAdvice takes the oldest advice that nobody took yet; nil: there is none.
func (c *Conductor) TakeAdvice() (*Advice, error) {
	raw, failure := c.raw.TakeAdvice()
	if err := asError(failure); err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		return nil, err
	}
	return &Advice{
		ContextID(raw.Context), Place{Instance: InstanceID(raw.Sender), Rank: int(raw.SenderRank)},
		Place{Instance: InstanceID(raw.Receiver), Rank: int(raw.ReceiverRank)}, int(raw.From), raw.Keys,
	}, nil
}

// Snapshot writes all the conductor knows but the requests that run.
func (c *Conductor) Snapshot() ([]byte, error) {
	bytes, failure := c.raw.Snapshot()
	return bytes, asError(failure)
}

// Restored is what was in a snapshot.
type Restored struct{ Instances, Contexts, Blocks uint64 }

// Restore takes a snapshot up in a conductor that knows nothing yet.
func (c *Conductor) Restore(snapshot []byte) (Restored, error) {
	raw, failure := c.raw.Restore(snapshot)
	return Restored(raw), asError(failure)
}

// Metrics are in Prometheus' text format.
func (c *Conductor) Metrics() (string, error) {
	text, failure := c.raw.Metrics()
	return text, asError(failure)
}

// Sweep lets time pass; to be called about once a second.
func (c *Conductor) Sweep() error { return asError(c.raw.Sweep()) }
