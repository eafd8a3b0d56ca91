package jetstream

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams and prefixes of their subjects. An external cluster may have other users, so
// all names begin with that of imagetier.
const (
	queueName = "IMAGETIER_WARM"      // waiting jobs: a work queue, finished jobs are removed
	seenName  = "IMAGETIER_WARM_SEEN" // ids that were accepted, by subject
	deadName  = "IMAGETIER_WARM_DEAD" // what failed too often, or for good

	queueSubject = "imagetier.warm.queue."
	seenSubject  = "imagetier.warm.seen."
	deadSubject  = "imagetier.warm.dead"
)

// NumPriorities is the number of priorities. Messages of priority 0 are always taken first.
const NumPriorities = 3

// maxPayload is the largest message of the embedded server, in bytes. A cluster's own
// setting is 1 MiB by default.
const maxPayload = 4 << 20

// Bounds of the streams beside the queue.
const (
	seenBytes = 64 << 20 // some 400,000 ids within Config.Window
	deadBytes = 32 << 20
	deadCount = 10_000
	deadAge   = 30 * 24 * time.Hour
)

// queueStream refuses new messages when it is full, rather than dropping events that were answered
// with 202.
func queueStream(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: queueName, Subjects: []string{queueSubject + "*"}, Description: "imagetier: what is to be warmed",
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxBytes: cfg.QueueBytes, MaxAge: cfg.QueueAge, MaxMsgSize: maxPayload,
		Duplicates: min(cfg.Window, cfg.QueueAge),
	}
}

// seenStream remembers accepted ids. After a restart the queue's own deduplication has forgotten
// ids whose messages are done.
func seenStream(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: seenName, Subjects: []string{seenSubject + "*"},
		Description: "imagetier: ids of events that were accepted",
		Storage:     jetstream.FileStorage, Discard: jetstream.DiscardOld, AllowDirect: true,
		MaxBytes: seenBytes, MaxAge: cfg.Window, MaxMsgsPerSubject: 1, MaxMsgSize: 1 << 10,
		Duplicates: min(cfg.Window, time.Minute),
	}
}

func deadStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: deadName, Subjects: []string{deadSubject}, Description: "imagetier: what could not be warmed",
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld, AllowDirect: true,
		MaxBytes: deadBytes, MaxMsgs: deadCount, MaxAge: deadAge, MaxMsgSize: maxPayload, Duplicates: 2 * time.Minute,
	}
}

// queueConsumer delivers the messages of one priority. The server counts deliveries, and Next
// buries messages with too many: with MaxDeliver they would stay in the queue, invisible, until
// they are too old. Messages that wait for their next attempt count as pending, so a limit of pending ones would
// let failing jobs hold up the others.
func queueConsumer(cfg Config, priority int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: fmt.Sprintf("warmers-%d", priority), FilterSubject: subject(priority),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: cfg.AckWait, MaxDeliver: -1, MaxAckPending: -1,
	}
}

func subject(priority int) string { return fmt.Sprintf("%s%d", queueSubject, priority) }

// NoticeSubject is the subject on which S3 servers that support NATS (MinIO, versitygw) may publish
// notifications of their buckets. A stream keeps them until a node has accepted them, so that none
// is lost while no node runs. Permission to publish there is permission to warm and purge: restrict
// it in the cluster's permissions.
const NoticeSubject = "imagetier.s3"

const (
	noticeName  = "IMAGETIER_S3"
	noticeBytes = 64 << 20
)

func noticeStream(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: noticeName, Subjects: []string{NoticeSubject}, Description: "imagetier: what happens in buckets",
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld,
		MaxBytes: noticeBytes, MaxAge: cfg.QueueAge, MaxMsgSize: 1 << 20,
	}
}
