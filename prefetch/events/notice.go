package events

import (
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/internal/jsoncheck"
)

// Notice is a notification of an S3 server about one object.
type Notice struct {
	Bucket  string
	Key     string // decoded
	Removed bool   // else it was created or replaced
	ETag    string // without quotes; "" if missing or weak
	// ID identifies the notice; it is the same if the notice is sent again.
	ID string
}

// maxRecords limits the records of a request. S3 sends one, SNS and NATS a few.
const maxRecords = 1000

// recordJSON has the fields of an AWS record that all senders have, with different spellings.
type recordJSON struct {
	EventSource string `json:"eventSource"`
	EventTime   string `json:"eventTime"`
	EventName   string `json:"eventName"` // AWS: ObjectCreated:Put; MinIO and versitygw: s3:ObjectCreated:Put
	S3          struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			ETag      string `json:"eTag"`
			VersionID string `json:"versionId"`
			Sequencer string `json:"sequencer"`
		} `json:"object"`
	} `json:"s3"`
}

// eventBridgeJSON is the body of an event that Amazon EventBridge forwards.
type eventBridgeJSON struct {
	Source     string `json:"source"`
	DetailType string `json:"detail-type"`
	Time       string `json:"time"`
	Detail     struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"` // not encoded
			ETag      string `json:"etag"`
			VersionID string `json:"version-id"`
			Sequencer string `json:"sequencer"`
		} `json:"object"`
	} `json:"detail"`
}

// ParseNotices parses notifications about objects that were created, removed or expired by a
// lifecycle rule: of S3, MinIO, versitygw or Ceph, sent directly, as the message of an SNS
// notification, or forwarded by EventBridge. Other events, such as the test that a server sends
// when it starts, are left out. A record that names no object is left out, too, and has an error in
// bad, because senders repeat a notification that is refused for ever. err is set if nothing of the
// body can be read; both wrap ErrEvent.
func ParseNotices(body []byte) (notices []Notice, bad []error, err error) {
	var notice struct {
		Records []json.RawMessage
		Event   string // s3:TestEvent
		Type    string // of SNS
		Message string // of SNS
	}
	if err := check(body, jsoncheck.Limits{"Records": maxRecords}); err != nil {
		return nil, nil, err
	}
	if err := decode(body, &notice, ""); err != nil {
		return nil, nil, err
	}
	switch {
	case notice.Type == "Notification" && notice.Message != "":
		if !json.Valid([]byte(notice.Message)) {
			return nil, nil, fault("Message", "not valid JSON")
		}
		return ParseNotices([]byte(notice.Message))
	case notice.Records == nil && notice.Event == "" && notice.Type == "":
		return parseEventBridge(body)
	}
	for i, raw := range notice.Records {
		var r recordJSON
		n, ok := Notice{}, false
		err := json.Unmarshal(raw, &r)
		if err == nil {
			n, ok, err = r.notice()
		}
		switch {
		case err != nil:
			bad = append(bad, fault("Records["+strconv.Itoa(i)+"]", "%v", err))
		case ok:
			notices = append(notices, n)
		}
	}
	return notices, bad, nil
}

var errNoObject = errors.New("it does not name a bucket and an object")

// notice returns the Notice of a record; ok is false for events that change no object.
func (r recordJSON) notice() (n Notice, ok bool, err error) {
	name := strings.TrimPrefix(r.EventName, "s3:")
	removed, ok := change(name)
	if !ok {
		return Notice{}, false, nil
	}
	key, err := keyOf(r)
	if err != nil || key == "" || r.S3.Bucket.Name == "" {
		return Notice{}, false, errNoObject
	}
	object := r.S3.Object
	return Notice{
		Bucket: r.S3.Bucket.Name, Key: key, Removed: removed, ETag: tagOf(object.ETag),
		ID: noticeID(name, r.S3.Bucket.Name, key, object.VersionID, object.Sequencer, object.ETag, r.EventTime),
	}, true, nil
}

func noticeID(parts ...string) string { return strings.Join(parts, "\x00") }

// change reports whether an event is about an object that was created or removed, and which.
// Lifecycle rules expire objects under names of their own: LifecycleExpiration:Delete of AWS and
// MinIO, LifecycleDelMarkerExpiration:Delete of MinIO, ObjectLifecycle:Expiration:Current of Ceph.
func change(name string) (removed, ok bool) {
	switch {
	case strings.HasPrefix(name, "ObjectCreated:"):
		return false, true
	case name == "ObjectLifecycle:Expiration:AbortMultipartUpload": // no object was removed
		return false, false
	}
	for _, prefix := range []string{
		"ObjectRemoved:", "LifecycleExpiration:", "LifecycleDelMarkerExpiration:", "ObjectLifecycle:Expiration:",
	} {
		if strings.HasPrefix(name, prefix) {
			return true, true
		}
	}
	return false, false
}

// keyOf returns the name of the object. AWS and MinIO send it encoded like form values, with + for a
// blank. Ceph and versitygw 1.8 send it unencoded. versitygw is recognised by an event name that
// begins with "s3:", as MinIO's does, together with the event source aws:s3.
func keyOf(r recordJSON) (string, error) {
	if r.EventSource == "ceph:s3" || strings.HasPrefix(r.EventName, "s3:") && r.EventSource == "aws:s3" {
		return r.S3.Object.Key, nil
	}
	return url.QueryUnescape(r.S3.Object.Key)
}

// parseEventBridge parses an event of EventBridge, whose object keys are not encoded.
func parseEventBridge(body []byte) (notices []Notice, bad []error, err error) {
	var e eventBridgeJSON
	if err := decode(body, &e, ""); err != nil {
		return nil, nil, err
	}
	if e.Source != "aws.s3" || e.DetailType == "" {
		return nil, nil, fault("Records", "it is missing, and this is no event of EventBridge (source aws.s3) either")
	}
	removed := e.DetailType == "Object Deleted" // also by a lifecycle rule
	if !removed && e.DetailType != "Object Created" {
		return nil, nil, nil
	}
	bucket, object := e.Detail.Bucket.Name, e.Detail.Object
	if bucket == "" || object.Key == "" {
		return nil, []error{fault("detail", "%v", errNoObject)}, nil
	}
	return []Notice{{
		Bucket: bucket, Key: object.Key, Removed: removed, ETag: tagOf(object.ETag),
		ID: noticeID(e.DetailType, bucket, object.Key, object.VersionID, object.Sequencer, object.ETag, e.Time),
	}}, nil, nil
}

// tagOf returns a strong entity tag without its quotes.
func tagOf(text string) string {
	if strings.HasPrefix(text, "W/") {
		return ""
	}
	return strings.Trim(text, `"`)
}
