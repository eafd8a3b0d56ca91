package events

import (
	"errors"
	"strings"
	"testing"
)

// Notifications that servers send for an object "2026/a b+ü.jpg" in bucket photos, shortened.
const (
	fromAWS         = `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventTime":"2026-11-24T13:01:10.000Z","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"2026/a+b%2B%C3%BC.jpg","size":5,"eTag":"5d41402abc4b2a76b9719d911017c592","sequencer":"0055AED6DCD90281E5"}}}]}`
	fromMinIO       = `{"EventName":"s3:ObjectCreated:Put","Key":"photos/2026/a b.jpg","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","eventTime":"2026-11-24T13:01:10.000Z","eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"2026%2Fa+b%2B%C3%BC.jpg","eTag":"5d41402abc4b2a76b9719d911017c592","sequencer":"17AB"}}}]}`
	fromVersityGW   = `{"Records":[{"eventVersion":"2.2","eventSource":"aws:s3","eventTime":"2026-11-24T13:01:10Z","eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"photos","arn":"arn:aws:s3:::/photos/2026/a b.jpg"},"object":{"key":"2026/a b+ü.jpg","size":5,"eTag":"\"5d41402abc4b2a76b9719d911017c592\"","versionId":null,"sequencer":"1"}},"glacierEventData":{}}]}`
	fromCeph        = `{"Records":[{"eventVersion":"2.2","eventSource":"ceph:s3","awsRegion":"default","eventTime":"2026-11-24T13:01:10.000000Z","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos","id":"503a4c37"},"object":{"key":"2026/a b+ü.jpg","size":5,"eTag":"5d41402abc4b2a76b9719d911017c592","versionId":"","sequencer":"F7E6D75DC742D108"}},"eventId":"1","opaqueData":""}]}`
	fromEventBridge = `{"version":"0","id":"17793124","detail-type":"Object Created","source":"aws.s3","time":"2026-11-24T13:01:10Z","detail":{"version":"0","bucket":{"name":"photos"},"object":{"key":"2026/a b+ü.jpg","size":5,"etag":"5d41402abc4b2a76b9719d911017c592","sequencer":"617f08299329d189"},"reason":"PutObject"}}`
)

func TestParseNotices_AllServers_Agree(t *testing.T) {
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(fromAWS)
	sns := `{"Type":"Notification","MessageId":"x","Message":"` + escaped + `"}`
	for who, body := range map[string]string{
		"AWS": fromAWS, "MinIO": fromMinIO, "versitygw": fromVersityGW, "SNS": sns, "Ceph": fromCeph,
		"EventBridge": fromEventBridge,
	} {
		notices, bad, err := ParseNotices([]byte(body))
		if err != nil || len(bad) > 0 || len(notices) != 1 {
			t.Errorf("%s: %v, %v, %v", who, notices, bad, err)
			continue
		}
		if n := notices[0]; n.Bucket != "photos" || n.Key != "2026/a b+ü.jpg" || n.Removed ||
			n.ETag != "5d41402abc4b2a76b9719d911017c592" ||
			n.ID == "" {
			t.Errorf("%s: %+v", who, n)
		}
	}
	removed, _, err := ParseNotices(
		[]byte(
			strings.Replace(
				strings.Replace(fromVersityGW, "ObjectCreated:Put", "ObjectRemoved:Delete", 1),
				`"\"5d41402abc4b2a76b9719d911017c592\""`,
				"null",
				1,
			),
		),
	)
	if err != nil || len(removed) != 1 || !removed[0].Removed || removed[0].ETag != "" {
		t.Errorf("%+v, %v", removed, err)
	}
	made, _, _ := ParseNotices([]byte(fromVersityGW))
	if removed[0].ID == made[0].ID {
		t.Error("the notices of creation and removal have the same ID")
	}
}

func TestParseNotices_WithoutObject_ReturnsNone(t *testing.T) {
	for _, body := range []string{
		`{"Bucket":"Test-Bucket","Event":"s3:TestEvent","Service":"S3","Time":"2026-11-24T13:01:09Z"}`,
		`{"Records":[]}`,
		`{"Records":[{"eventName":"ObjectRestore:Post","s3":{"bucket":{"name":"photos"},"object":{"key":"x"}}}]}`,
		`{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example/"}`,
		`{"source":"aws.s3","detail-type":"Object Restore Completed","detail":{}}`,
		`{"Records":[{"eventName":"ObjectLifecycle:Expiration:AbortMultipartUpload","s3":{"bucket":{"name":"b"},"object":{"key":"x"}}}]}`,
	} {
		if notices, bad, err := ParseNotices([]byte(body)); err != nil || len(bad)+len(notices) != 0 {
			t.Errorf("%s: %v, %v, %v", body, notices, bad, err)
		}
	}
	many := `{"Records":[` + strings.TrimSuffix(strings.Repeat(`{},`, maxRecords+1), ",") + `]}`
	for _, body := range []string{`{}`, `[]`, `x`, many, `{"Type":"Notification","Message":"x"}`,
		`{"source":"aws.ec2","detail-type":"Object Created"}`} {
		if notices, _, err := ParseNotices([]byte(body)); !errors.Is(err, ErrEvent) {
			t.Errorf("%.80s: %v, %v", body, notices, err)
		}
	}
}

func TestParseNotices_Removals(t *testing.T) {
	for _, name := range []string{
		"ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "LifecycleExpiration:Delete",
		"LifecycleExpiration:DeleteMarkerCreated", "s3:LifecycleDelMarkerExpiration:Delete",
		"ObjectLifecycle:Expiration:Current", "s3:ObjectLifecycle:Expiration:DeleteMarker",
	} {
		body := `{"Records":[{"eventName":"` + name + `","s3":{"bucket":{"name":"photos"},"object":{"key":"a%2Bb"}}}]}`
		notices, bad, err := ParseNotices([]byte(body))
		if err != nil || len(bad) > 0 || len(notices) != 1 || !notices[0].Removed || notices[0].Key != "a+b" {
			t.Errorf("%s: %+v, %v, %v", name, notices, bad, err)
		}
	}
	deleted := strings.Replace(fromEventBridge, "Object Created", "Object Deleted", 1)
	if notices, _, err := ParseNotices([]byte(deleted)); err != nil || len(notices) != 1 || !notices[0].Removed {
		t.Errorf("EventBridge: %+v, %v", notices, err)
	}
}

// A sender repeats a notification that is refused, so its valid records are accepted.
func TestParseNotices_BadRecord_KeepsTheOthers(t *testing.T) {
	good := `{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"a"}}}`
	for name, record := range map[string]string{
		"a bad escape": `{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"%zz"}}}`,
		"no bucket":    `{"eventName":"ObjectCreated:Put","s3":{"bucket":{},"object":{"key":"a"}}}`,
		"another type": `{"eventName":"ObjectCreated:Put","s3":{"object":{"key":7}}}`,
		"no object":    `3`,
	} {
		notices, bad, err := ParseNotices([]byte(`{"Records":[` + record + `,` + good + `]}`))
		if err != nil || len(notices) != 1 || notices[0].Key != "a" || len(bad) != 1 || !errors.Is(bad[0], ErrEvent) ||
			!strings.Contains(bad[0].Error(), "Records[0]") {
			t.Errorf("%s: %+v, %v, %v", name, notices, bad, err)
		}
	}
	_, bad, err := ParseNotices([]byte(`{"source":"aws.s3","detail-type":"Object Created","detail":{}}`))
	if err != nil || len(bad) != 1 {
		t.Errorf("an event of EventBridge without an object: %v, %v", bad, err)
	}
}

func FuzzParseNotices(f *testing.F) {
	for _, body := range []string{
		fromAWS, fromMinIO, fromVersityGW, fromCeph, fromEventBridge,
		`{"Type":"Notification","Message":"{\"Records\":[]}"}`,
		`{"Event":"s3:TestEvent"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		notices, _, err := ParseNotices(body)
		if err != nil && !errors.Is(err, ErrEvent) {
			t.Fatalf("%v is not ErrEvent", err)
		}
		for _, n := range notices {
			if n.Bucket == "" || n.Key == "" || n.ID == "" || len(notices) > maxRecords {
				t.Fatalf("%+v", n)
			}
		}
	})
}
