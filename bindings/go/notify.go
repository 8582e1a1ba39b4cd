// Notifications: short binary messages to a peer, beside or after its data.

package mooncake

import (
	"context"

	"mooncake.dev/go/internal/capi"
)

// MaxNotifyLength is the length of the longest notification in bytes.
const MaxNotifyLength = 1 << 20

// Notification is one that was received.
type Notification struct {
	Tag string
	// Sender and SenderID are the name and the identity of the engine that sent it.
	Sender   string
	SenderID string
	Data     []byte
}

// Notify sends a notification and waits until the peer's engine has it. To tell a peer that its data is there, name
// the notification in [BatchOptions] instead. When the context ends first, it may still arrive.
func (s *Segment) Notify(ctx context.Context, tag string, data []byte) error {
	if ctx.Done() != nil {
		// The call may outlast this one, and the caller's hold on the data.
		data = append([]byte(nil), data...)
	}
	_, err := ask(ctx, func(timeoutMs int64) (struct{}, *capi.Failure) {
		return struct{}{}, s.engine.raw.Notify(s.id, tag, data, timeoutMs)
	}, nil)
	return err
}

// Receive takes the oldest notification, waiting for one.
func (e *Engine) Receive(ctx context.Context) (Notification, error) { return e.receive(ctx, nil) }

// ReceiveTag takes the oldest notification with that tag, waiting for one.
func (e *Engine) ReceiveTag(ctx context.Context, tag string) (Notification, error) {
	return e.receive(ctx, &tag)
}

// TryReceive takes the oldest notification, if there is one; else it fails with [ErrNotReady].
func (e *Engine) TryReceive() (Notification, error) {
	notification, failure := e.take(nil, 0, new([]byte))
	return notification, asError(failure)
}

// TryReceiveTag takes the oldest notification with that tag, if there is one; else it fails with [ErrNotReady].
func (e *Engine) TryReceiveTag(tag string) (Notification, error) {
	notification, failure := e.take(&tag, 0, new([]byte))
	return notification, asError(failure)
}

func (e *Engine) receive(ctx context.Context, tag *string) (notification Notification, err error) {
	var buffer []byte
	err = inGlances(ctx, func(timeoutMs int64) (bool, *capi.Failure) {
		var failure *capi.Failure
		notification, failure = e.take(tag, timeoutMs, &buffer)
		if isCode(failure, ErrNotReady) {
			return false, nil
		}
		return true, failure
	})
	return notification, err
}

// take receives into the buffer, which grows when one does not fit: that one stays until it does.
func (e *Engine) take(tag *string, timeoutMs int64, buffer *[]byte) (Notification, *capi.Failure) {
	if *buffer == nil {
		*buffer = make([]byte, 1024)
	}
	for {
		raw, failure := e.raw.Receive(tag, timeoutMs, *buffer)
		if isCode(failure, ErrBufferTooSmall) {
			*buffer = make([]byte, raw.Length)
			continue
		}
		if failure != nil {
			return Notification{}, failure
		}
		return Notification{Tag: raw.Tag, Sender: raw.Sender, SenderID: raw.SenderID, Data: (*buffer)[:raw.Length]}, nil
	}
}

// BindNotifications announces notifications with that tag on the queue: one completion of kind [NotifyArrived] for
// each, after which one [Engine.TryReceiveTag] finds one.
func (q *Queue) BindNotifications(tag string, userData uint64) error {
	return asError(q.engine.raw.BindNotify(&tag, q.id, userData))
}

// BindOtherNotifications announces those whose tag is bound nowhere.
func (q *Queue) BindOtherNotifications(userData uint64) error {
	return asError(q.engine.raw.BindNotify(nil, q.id, userData))
}

// UnbindNotifications no longer announces those with that tag.
func (e *Engine) UnbindNotifications(tag string) error { return asError(e.raw.BindNotify(&tag, 0, 0)) }

// UnbindOtherNotifications no longer announces those whose tag is bound nowhere.
func (e *Engine) UnbindOtherNotifications() error { return asError(e.raw.BindNotify(nil, 0, 0)) }
