package jetstream

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams, and what their subjects begin with. An outside cluster may be used
// for other things too, so all of them say whose they are.
const (
	queueName = "IMAGETIER_WARM"      // waiting jobs: a work queue, finished jobs are removed
	seenName  = "IMAGETIER_WARM_SEEN" // ids that were accepted, by subject
	deadName  = "IMAGETIER_WARM_DEAD" // what failed too often, or for good

	queueSubject = "imagetier.warm.queue."
	seenSubject  = "imagetier.warm.seen."
	deadSubject  = "imagetier.warm.dead"
)

// NumPriorities is how many priorities there are: 0 is taken first, whatever waits in the
// others.
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

// queueStream refuses new messages when it is full: events that were answered with 202 are not
// dropped for them.
func queueStream(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: queueName, Subjects: []string{queueSubject + "*"}, Description: "imagetier: what is to be warmed",
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		MaxBytes: cfg.QueueBytes, MaxAge: cfg.QueueAge, MaxMsgSize: maxPayload,
		Duplicates: min(cfg.Window, cfg.QueueAge),
	}
}

// seenStream remembers accepted ids. The queue's own deduplication forgets, at a restart,
// those whose messages are done and gone.
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

// queueConsumer is what hands out the messages of one priority. How often one was handed
// out is counted by the server, and buried here (Next): past a MaxDeliver of its own it
// would lie in the queue, unseen, until it is too old.
func queueConsumer(cfg Config, priority int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: fmt.Sprintf("warmers-%d", priority), FilterSubject: subject(priority),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: cfg.AckWait, MaxDeliver: -1, MaxAckPending: 1000,
	}
}

func subject(priority int) string { return fmt.Sprintf("%s%d", queueSubject, priority) }

// NoticeSubject is where S3 servers that speak NATS (MinIO, versitygw) may publish what
// happens in their buckets. A stream keeps it until a node has taken it in, so that none is
// lost while no node runs. Permission to publish there is permission to warm and purge:
// restrict it in the cluster's permissions.
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
