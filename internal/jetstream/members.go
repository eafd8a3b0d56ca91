package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The bucket of members. A member that has not put itself within memberTTL is dropped.
const (
	memberBucket = "imagetier_nodes"
	memberTTL    = 10 * time.Minute
)

// Member is a node of the fleet.
type Member struct {
	ID string
	// Put is the time of its last heartbeat, by the clock of the server. Compare it with that of
	// other members, not with this machine's clock.
	Put time.Time
}

func (b *Bus) memberStore(ctx context.Context) (jetstream.KeyValue, error) {
	s, err := b.connected()
	if err != nil {
		return nil, err
	}
	if kv := s.members.Load(); kv != nil {
		return *kv, nil
	}
	kv, err := ask(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		kv, err := s.js.KeyValue(ctx, memberBucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			// In memory: after a restart of the whole cluster every node puts itself again.
			kv, err = s.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket: memberBucket, Description: "imagetier: nodes of the fleet", TTL: memberTTL, History: 1,
				Storage: jetstream.MemoryStorage, Replicas: b.cfg.Replicas, MaxBytes: memberBytes,
			})
			if errors.Is(err, jetstream.ErrBucketExists) { // another node has created it
				kv, err = s.js.KeyValue(ctx, memberBucket)
			}
		}
		return kv, err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: bucket %s with %d replicas: %w", ErrUnavailable, memberBucket, b.cfg.Replicas, err)
	}
	s.members.Store(&kv)
	return kv, nil
}

// memberBytes is enough for some 10,000 nodes.
const memberBytes = 4 << 20

// PutMember records that a node is running. It must be repeated before the entry expires.
func (b *Bus) PutMember(ctx context.Context, id string) error {
	kv, err := b.memberStore(ctx)
	if err == nil {
		_, err = kv.Put(ctx, id, nil)
	}
	return b.memberError(err)
}

// RemoveMember records that a node has stopped.
func (b *Bus) RemoveMember(ctx context.Context, id string) error {
	kv, err := b.memberStore(ctx)
	if err == nil {
		err = kv.Purge(ctx, id)
	}
	return b.memberError(err)
}

// Members is the list of nodes.
type Members struct {
	// Nodes are the nodes with a heartbeat in the last ten minutes that have not signed off.
	Nodes []Member
	// Age is for how long the list is known to have existed: at most since this node's connection was
	// last established. A restarted cluster begins an empty list, which may keep its time of creation.
	Age time.Duration
}

// Members returns the list of nodes. It costs one message for each, and one for its age.
func (b *Bus) Members(ctx context.Context) (list Members, err error) {
	kv, err := b.memberStore(ctx)
	if err != nil {
		return Members{}, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return Members{}, b.memberError(err)
	}
	if bucket, ok := status.(*jetstream.KeyValueBucketStatus); ok {
		info := bucket.StreamInfo()
		list.Age = info.TimeStamp.Sub(info.Created)
	}
	watcher, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return Members{}, b.memberError(err)
	}
	defer func() { err = errors.Join(err, watcher.Stop()) }()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok {
				return Members{}, b.memberError(errors.New("the list ended early"))
			}
			if entry == nil { // end of the list
				b.mu.Lock()
				list.Age = min(list.Age, time.Since(b.up))
				b.mu.Unlock()
				return list, nil
			}
			list.Nodes = append(list.Nodes, Member{entry.Key(), entry.Created()})
		case <-ctx.Done():
			return Members{}, b.memberError(ctx.Err())
		}
	}
}

// memberError makes the next call open the bucket again, because a restarted cluster has lost it.
func (b *Bus) memberError(err error) error {
	if err == nil {
		return nil
	}
	if s, closed := b.session(); closed == nil {
		s.members.Store(nil)
	}
	return fmt.Errorf("%w: members: %w", ErrUnavailable, err)
}
