// Conductor: decisions, what they are made of, and all of it again after a restart.

package mooncake_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mooncake.dev/go"
)

var conductorKeys = []uint64{11, 12, 13, 14, 15, 16, 17, 18}

// A block of 10 tokens takes a second to compute, and a quarter of one to move.
func serving(name string, role mooncake.Role) mooncake.Instance {
	return mooncake.Instance{Name: name, Model: "m", Role: role, BlockSize: 10, Cost: &mooncake.Cost{
		KVBytesPerToken: 1, PrefillLinear: 0.1, DecodeFixed: 0.01, HostRate: 1e9, DiskRate: 1e9, LinkRate: 40,
		KVTokens: 1000, ChunkTokens: 10,
	}}
}

type team struct {
	*mooncake.Conductor
	first, second mooncake.InstanceID
	context       mooncake.ContextID
}

func newTeam(t *testing.T, options mooncake.ConductorOptions) team {
	t.Helper()
	options.LateTransfers, options.NoLearning = true, true
	conductor, err := mooncake.NewConductor(&options)
	must(t, err)
	t.Cleanup(func() { conductor.Close() })
	team := team{Conductor: conductor}
	team.first, err = conductor.Register(serving("p0", mooncake.RolePrefill))
	must(t, err)
	team.second, err = conductor.Register(serving("p1", mooncake.RolePrefill))
	must(t, err)
	_, err = conductor.Register(serving("d0", mooncake.RoleDecode))
	must(t, err)
	team.context, err = conductor.OpenContext(mooncake.ContextOptions{Model: "m", BlockSize: 10})
	must(t, err)
	return team
}

func (c team) store(t *testing.T, id mooncake.InstanceID, keys []uint64) {
	t.Helper()
	unknown, err := c.Apply(c.context, []mooncake.BlockEvent{
		{Instance: id, Change: mooncake.ChangeStored, Tier: mooncake.TierDevice, Keys: keys},
	})
	must(t, err)
	if unknown != 0 {
		t.Fatal("nobody knows it")
	}
}

func (c team) request() *mooncake.ScheduleRequest {
	return &mooncake.ScheduleRequest{Context: c.context, Keys: conductorKeys}
}

func TestARequestGoesWhereItsPrefixIs(t *testing.T) {
	team := newTeam(t, mooncake.ConductorOptions{Name: "team"})
	team.store(t, team.second, conductorKeys[:6])
	decision, err := team.Schedule(team.request())
	must(t, err)
	if decision.Prefill.Name != "p1" || decision.Decode.Name != "d0" || decision.Reused != 6 || decision.TTFT.Round(time.Millisecond) != 2*time.Second {
		t.Errorf("%+v", decision)
	}
	found, err := team.Match(team.request())
	must(t, err)
	if len(found) != 3 || found[1].Promised != 8 || found[1].Blocks[0] != 6 {
		t.Errorf("%+v", found)
	}
	text, err := team.Explain(decision.Request)
	must(t, err)
	other, err := team.ExplainRequest(team.request())
	must(t, err)
	if !json.Valid([]byte(text)) || !json.Valid([]byte(other)) || !strings.Contains(text, `"chosen":true`) {
		t.Errorf("%s", text)
	}
	must(t, team.Feedback(decision.Request, mooncake.FeedbackFirstToken))
	must(t, team.Feedback(decision.Request, mooncake.FeedbackFinished))
	mustFail(t, team.Feedback(decision.Request, mooncake.FeedbackFinished), mooncake.ErrInvalidHandle)
	metrics, err := team.Metrics()
	must(t, err)
	if !strings.Contains(metrics, "decisions_total{conductor=\"team\"} 1\n") {
		t.Errorf("%s", metrics)
	}
	must(t, team.Clear(team.second, 0))
	must(t, team.Sweep())
}

func TestARejectionIsADecision(t *testing.T) {
	options := mooncake.ConductorOptions{Admission: "early"}
	options.Classes[0].TTFT = 5 * time.Second
	team := newTeam(t, options)
	decision, err := team.Schedule(team.request())
	must(t, err)
	if rejection := decision.Rejection; rejection == nil || rejection.Reason != "prefill" || rejection.RetryAfter != 3*time.Second {
		t.Errorf("%+v", decision)
	}
	_, err = mooncake.NewConductor(&mooncake.ConductorOptions{Policy: "best"})
	mustFail(t, err, mooncake.ErrInvalidArgument)
}

func TestTokensHaveTheKeysOfTheirContext(t *testing.T) {
	team := newTeam(t, mooncake.ConductorOptions{})
	tokens := make([]uint32, 1000)
	for i := range tokens {
		tokens[i] = uint32(i)
	}
	keys, err := team.Hash(team.context, tokens)
	must(t, err)
	if len(keys) != 100 {
		t.Fatalf("%d keys", len(keys))
	}
	team.store(t, team.first, keys)
	queue := time.Hour
	must(t, team.Report(team.first, 0, mooncake.Report{Queue: &queue}))
	request := &mooncake.ScheduleRequest{Context: team.context, Tokens: tokens, Name: "r1"}
	decision, err := team.Schedule(request)
	must(t, err)
	if decision.Prefill.Instance != team.second || decision.Moved != 100 || decision.Source.Instance != team.first {
		t.Errorf("%+v", decision)
	}
	_, err = team.Schedule(request)
	mustFail(t, err, mooncake.ErrAlreadyExists)
	id, err := team.FindRequest("r1")
	must(t, err)
	must(t, team.Feedback(id, mooncake.FeedbackCanceled))
	vllm := mooncake.ContextOptions{Model: "m", BlockSize: 10, Hash: mooncake.HashVLLMSHA256}
	_, err = team.OpenContext(vllm)
	mustFail(t, err, mooncake.ErrInvalidArgument)
	vllm.PythonHashSeed = "0"
	other, err := team.OpenContext(vllm)
	must(t, err)
	others, err := team.Hash(other, tokens)
	must(t, err)
	if slices.Equal(keys, others) {
		t.Error("the same keys")
	}
	must(t, team.CloseContext(other))
}

func TestInstancesAreKnownByTheirNames(t *testing.T) {
	team := newTeam(t, mooncake.ConductorOptions{})
	wider := serving("p0", mooncake.RolePrefill)
	wider.Ranks = 2
	id, err := team.Register(wider)
	must(t, err)
	info, err := team.Instance(id)
	must(t, err)
	if id != team.first || info.Ranks != 2 || info.Name != "p0" || info.Role != mooncake.RolePrefill {
		t.Errorf("%+v", info)
	}
	must(t, team.Report(id, 1, mooncake.Report{Decoding: &mooncake.DecodingLoad{}}))
	mustFail(t, team.Report(id, 2, mooncake.Report{}), mooncake.ErrNotFound)
	must(t, team.Unregister("p0"))
	_, err = team.FindInstance("p0")
	mustFail(t, err, mooncake.ErrNotFound)
	mustFail(t, team.Unregister("p\x00"), mooncake.ErrInvalidArgument)
	cost, err := mooncake.Preset("", "h800")
	must(t, err)
	if cost.KVTokens == 0 {
		t.Errorf("%+v", cost)
	}
}

func TestAdviceComesWithItsKeys(t *testing.T) {
	team := newTeam(t, mooncake.ConductorOptions{CopiedBlocksPerSecond: 100, UsesPerCopy: 2})
	advice, err := team.TakeAdvice()
	must(t, err)
	if advice != nil {
		t.Errorf("%+v", advice)
	}
	team.store(t, team.first, conductorKeys)
	for i := 0; i < 10 && advice == nil; i++ {
		_, err := team.Schedule(team.request())
		must(t, err)
		advice, err = team.TakeAdvice()
		must(t, err)
	}
	if advice == nil || !slices.Equal(advice.Keys, conductorKeys) || advice.Sender.Instance != team.first {
		t.Errorf("%+v", advice)
	}
}

func TestAConductorGoesOnFromASnapshot(t *testing.T) {
	team := newTeam(t, mooncake.ConductorOptions{})
	team.store(t, team.first, conductorKeys)
	snapshot, err := team.Snapshot()
	must(t, err)
	other, err := mooncake.NewConductor(nil)
	must(t, err)
	defer other.Close()
	_, err = other.Restore(snapshot[:len(snapshot)-1])
	mustFail(t, err, mooncake.ErrCorrupted)
	restored, err := other.Restore(snapshot)
	must(t, err)
	info, err := other.Info()
	must(t, err)
	if restored.Blocks != 8 || info.Instances != 3 || info.Blocks != 8 {
		t.Errorf("%+v %+v", restored, info)
	}
}

func TestManyRoutersShareAConductor(t *testing.T) {
	team := newTeam(t, mooncake.ConductorOptions{})
	var group sync.WaitGroup
	for router := 0; router < 8; router++ {
		group.Add(1)
		go func(router int) {
			defer group.Done()
			for i := 0; i < 100; i++ {
				request := team.request()
				request.Name = fmt.Sprintf("%d/%d", router, i)
				decision, err := team.Schedule(request)
				if err == nil {
					err = team.Feedback(decision.Request, mooncake.FeedbackFinished)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}(router)
	}
	group.Wait()
	info, err := team.Info()
	must(t, err)
	if info.Decided != 800 || info.Requests != 0 {
		t.Errorf("%+v", info)
	}
}

func TestHooksDecideInPlaceOfTheBuiltInRules(t *testing.T) {
	var asked mooncake.Asked
	var seen []mooncake.Candidate
	hooks := mooncake.ConductorHooks{
		Score: func(about *mooncake.Asked, candidates []mooncake.Candidate, prices []float64) error {
			asked, seen = *about, slices.Clone(candidates)
			for i := range prices {
				prices[i] = float64(len(prices) - i)
			}
			return nil
		},
		Admission: func(about *mooncake.Asked, prospect *mooncake.Prospect, rejection *mooncake.Rejection) (*mooncake.Rejection, error) {
			if about.Priority == 0 {
				return rejection, nil
			}
			return &mooncake.Rejection{Reason: "rule", RetryAfter: 2 * time.Second, Load: prospect.PrefillLoad, Limit: 0.5}, nil
		},
		Cost: func(_ *mooncake.Asked, candidates []mooncake.Candidate) error {
			for i := range candidates {
				candidates[i].Queue += 1
			}
			return nil
		},
	}
	team := newTeam(t, mooncake.ConductorOptions{Hooks: hooks})
	team.store(t, team.first, conductorKeys[:6])
	decision, err := team.Schedule(team.request())
	must(t, err)
	if decision.Prefill.Name != "p1" || decision.Queue.Round(time.Millisecond) != time.Second {
		t.Errorf("%+v", decision)
	}
	if asked.Model != "m" || asked.Blocks != 8 || len(seen) != 2 || seen[0].Local != 6 || seen[1].Source != team.first || seen[1].Queue != 1 {
		t.Errorf("%+v %+v", asked, seen)
	}
	urgent := team.request()
	urgent.Priority = 1
	decision, err = team.Schedule(urgent)
	must(t, err)
	if decision.Rejection == nil || decision.Rejection.Reason != "rule" || decision.Rejection.RetryAfter != 2*time.Second || decision.Rejection.Limit != 0.5 {
		t.Errorf("%+v", decision.Rejection)
	}
}

func TestAHookThatPanicsIsSwitchedOffAndTheBuiltInRuleCounts(t *testing.T) {
	calls := 0
	hooks := mooncake.ConductorHooks{StrikeLimit: 2, Budget: time.Minute}
	hooks.Cost = func(*mooncake.Asked, []mooncake.Candidate) error {
		calls++
		panic("no idea")
	}
	team := newTeam(t, mooncake.ConductorOptions{Hooks: hooks})
	for i := 0; i < 5; i++ {
		decision, err := team.Schedule(team.request())
		must(t, err)
		if decision.Prefill.Name == "" {
			t.Errorf("%+v", decision)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

func TestAHookMayDecideWhatIsCopied(t *testing.T) {
	var team team
	hooks := mooncake.ConductorHooks{
		Replicate: func(_ *mooncake.Asked, found []mooncake.Match, advised *mooncake.Copying) (*mooncake.Copying, error) {
			if advised != nil || len(found) != 3 {
				return advised, fmt.Errorf("unexpected: %+v", advised)
			}
			return &mooncake.Copying{
				Sender: mooncake.Place{Instance: team.first}, Receiver: mooncake.Place{Instance: team.second}, From: 1, To: 4,
			}, nil
		},
	}
	team = newTeam(t, mooncake.ConductorOptions{Hooks: hooks})
	team.store(t, team.first, conductorKeys[:6])
	_, err := team.Schedule(team.request())
	must(t, err)
	advice, err := team.TakeAdvice()
	must(t, err)
	if advice == nil || advice.Sender.Instance != team.first || advice.Receiver.Instance != team.second || advice.From != 1 || !slices.Equal(advice.Keys, conductorKeys[1:4]) {
		t.Errorf("%+v", advice)
	}
}
