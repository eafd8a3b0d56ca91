package events

import (
	"errors"
	"strings"
	"testing"
)

// What the three send for an object "2026/a b+ü.jpg" in bucket photos, shortened.
const (
	fromAWS       = `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventTime":"2026-11-24T13:01:10.000Z","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"2026/a+b%2B%C3%BC.jpg","size":5,"eTag":"5d41402abc4b2a76b9719d911017c592","sequencer":"0055AED6DCD90281E5"}}}]}`
	fromMinIO     = `{"EventName":"s3:ObjectCreated:Put","Key":"photos/2026/a b.jpg","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","eventTime":"2026-11-24T13:01:10.000Z","eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"2026%2Fa+b%2B%C3%BC.jpg","eTag":"5d41402abc4b2a76b9719d911017c592","sequencer":"17AB"}}}]}`
	fromVersityGW = `{"Records":[{"eventVersion":"2.2","eventSource":"aws:s3","eventTime":"2026-11-24T13:01:10Z","eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"photos","arn":"arn:aws:s3:::/photos/2026/a b.jpg"},"object":{"key":"2026/a b+ü.jpg","size":5,"eTag":"\"5d41402abc4b2a76b9719d911017c592\"","versionId":null,"sequencer":"1"}},"glacierEventData":{}}]}`
)

func TestParseNotices_AllServers_Agree(t *testing.T) {
	sns := `{"Type":"Notification","MessageId":"x","Message":` + strings.ReplaceAll(
		strings.ReplaceAll(`"`+strings.ReplaceAll(fromAWS, `\`, `\\`), `"`, `\"`),
		`\"{`,
		`"{`,
	) + `"}`
	for who, body := range map[string]string{
		"AWS": fromAWS, "MinIO": fromMinIO, "versitygw": fromVersityGW, "SNS": sns,
	} {
		notices, err := ParseNotices([]byte(body))
		if err != nil || len(notices) != 1 {
			t.Errorf("%s: %v, %v", who, notices, err)
			continue
		}
		if n := notices[0]; n.Bucket != "photos" || n.Key != "2026/a b+ü.jpg" || n.Removed ||
			n.ETag != "5d41402abc4b2a76b9719d911017c592" ||
			n.ID == "" {
			t.Errorf("%s: %+v", who, n)
		}
	}
	removed, err := ParseNotices(
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
	made, _ := ParseNotices([]byte(fromVersityGW))
	if removed[0].ID == made[0].ID {
		t.Error("what was made and what was removed have one ID")
	}
}

func TestParseNotices_WithoutObject_ReturnsNone(t *testing.T) {
	for _, body := range []string{
		`{"Bucket":"Test-Bucket","Event":"s3:TestEvent","Service":"S3","Time":"2026-11-24T13:01:09Z"}`,
		`{"Records":[]}`,
		`{"Records":[{"eventName":"ObjectRestore:Post","s3":{"bucket":{"name":"photos"},"object":{"key":"x"}}}]}`,
		`{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example/"}`,
	} {
		if notices, err := ParseNotices([]byte(body)); err != nil || len(notices) != 0 {
			t.Errorf("%s: %v, %v", body, notices, err)
		}
	}
	many := `{"Records":[` + strings.TrimSuffix(strings.Repeat(`{},`, maxRecords+1), ",") + `]}`
	for _, body := range []string{`{}`, `[]`, `x`, many, `{"Type":"Notification","Message":"x"}`,
		`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"%zz"}}}]}`,
		`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{},"object":{"key":"a"}}}]}`} {
		if notices, err := ParseNotices([]byte(body)); !errors.Is(err, ErrEvent) {
			t.Errorf("%.80s: %v, %v", body, notices, err)
		}
	}
}

func FuzzParseNotices(f *testing.F) {
	for _, body := range []string{
		fromAWS, fromMinIO, fromVersityGW,
		`{"Type":"Notification","Message":"{\"Records\":[]}"}`,
		`{"Event":"s3:TestEvent"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		notices, err := ParseNotices(body)
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
