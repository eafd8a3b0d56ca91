package events

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
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

// ParseNotices parses notifications of S3, MinIO or versitygw about created and removed objects, sent
// directly or as the message of an SNS notification. Other events, such as the test that a server
// sends when it starts, are left out. The error wraps ErrEvent.
func ParseNotices(body []byte) ([]Notice, error) {
	var notice struct {
		Records []recordJSON
		Event   string // s3:TestEvent
		Type    string // of SNS
		Message string // of SNS
	}
	if err := decode(body, &notice, ""); err != nil {
		return nil, err
	}
	switch {
	case notice.Type == "Notification" && notice.Message != "":
		if !json.Valid([]byte(notice.Message)) {
			return nil, fault("Message", "not valid JSON")
		}
		return ParseNotices([]byte(notice.Message))
	case len(notice.Records) > maxRecords:
		return nil, fault("Records", "there are %d, allowed are %d", len(notice.Records), maxRecords)
	case notice.Records == nil && notice.Event == "" && notice.Type == "":
		return nil, fault("Records", "it is missing")
	}
	var notices []Notice
	for i, r := range notice.Records {
		name := strings.TrimPrefix(r.EventName, "s3:")
		removed := strings.HasPrefix(name, "ObjectRemoved:")
		if !removed && !strings.HasPrefix(name, "ObjectCreated:") {
			continue
		}
		key, err := keyOf(r)
		if err != nil || key == "" || r.S3.Bucket.Name == "" {
			return nil, fault("Records["+strconv.Itoa(i)+"].s3", "it does not name a bucket and an object")
		}
		notices = append(notices, Notice{
			Bucket: r.S3.Bucket.Name, Key: key, Removed: removed, ETag: tagOf(r.S3.Object.ETag),
			ID: strings.Join(
				[]string{
					name,
					r.S3.Bucket.Name,
					key,
					r.S3.Object.VersionID,
					r.S3.Object.Sequencer,
					r.S3.Object.ETag,
					r.EventTime,
				},
				"\x00",
			),
		})
	}
	return notices, nil
}

// keyOf returns the name of the object. AWS and MinIO send it encoded like form values, with + for a
// blank; versitygw 1.8 sends it unencoded. versitygw is recognised by an event name that begins with
// "s3:", as MinIO's does, together with the event source aws:s3.
func keyOf(r recordJSON) (string, error) {
	if strings.HasPrefix(r.EventName, "s3:") && r.EventSource == "aws:s3" {
		return r.S3.Object.Key, nil
	}
	return url.QueryUnescape(r.S3.Object.Key)
}

// tagOf returns a strong entity tag without its quotes.
func tagOf(text string) string {
	if strings.HasPrefix(text, "W/") {
		return ""
	}
	return strings.Trim(text, `"`)
}
