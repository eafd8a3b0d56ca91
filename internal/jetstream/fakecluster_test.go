package jetstream

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// fakeCluster answers as a cluster that has every stream and every consumer, except for the first request
// to the subject silent of its API. asked returns how often that was requested.
func fakeCluster(t *testing.T, silent string) (url string, asked func() int) {
	t.Helper()
	url = natsOf(t, &server.Options{}).ClientURL()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	requests := make(chan struct{}, 100)
	_, err = conn.Subscribe("$JS.API.>", func(m *nats.Msg) {
		request := strings.TrimPrefix(m.Subject, "$JS.API.")
		if request == silent {
			requests <- struct{}{}
			if len(requests) == 1 {
				return
			}
		}
		name := strings.Split(request, ".")[2]
		answer := map[string]any{
			"type": "io.nats.jetstream.api.v1.stream_info_response", "created": time.Unix(1, 0).UTC(),
			"config": map[string]any{"name": name, "num_replicas": 1, "max_msgs_per_subject": 1},
		}
		if strings.HasPrefix(request, "CONSUMER") {
			answer["type"], answer["config"] = "io.nats.jetstream.api.v1.consumer_create_response", nil
			answer["stream_name"], answer["name"] = name, "c"
		}
		text, err := json.Marshal(answer)
		if err == nil {
			err = m.Respond(text)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return url, func() int { return len(requests) }
}
