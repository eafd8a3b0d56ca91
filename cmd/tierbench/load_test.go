package main

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLoadTable_ListsFailures(t *testing.T) {
	good := loadRow{
		k6:           k6Summary{Requests: 6000, Rate: 93, Avg: 20, P95: 200},
		rss:          48e6,
		rssAt:        47e6,
		open:         3,
		bytes:        40e3,
		pause:        time.Millisecond,
		gatewayKnown: true,
	}
	good.scenario = scenario{name: "normal", wants: append(slices.Clone(wantNormal), wantNoGrowth)}
	before := loadRow{scenario: scenario{name: "before"}, k6: k6Summary{Avg: 600}}
	run := &loadRun{rows: []loadRow{before, good}, probed: []verdictOf{{"feed", "a stranger", true}}}
	var text bytes.Buffer
	if err := run.print(&text); err != nil {
		t.Errorf("%v\n%s", err, &text)
	}
	const want = "| normal | 93.0 | 20.0 | 200.0 | 0 | 0 | 48 | 0 / 3 | 40.0 | 1ms |"
	if !strings.Contains(text.String(), want) || !strings.Contains(text.String(), "30.0 times as long: held") {
		t.Errorf("no %s in\n%s", want, &text)
	}
	for name, spoil := range map[string]func(*loadRow){
		"p95 of 231 ms":                 func(o *loadRow) { o.k6.P95 = 231 },
		"average of 31 ms":              func(o *loadRow) { o.k6.Avg = 31 },
		"1 errors":                      func(o *loadRow) { o.k6.Empty = 1 },
		"2 errors":                      func(o *loadRow) { o.k6.Failed = 2 },
		"thresholds of the script p(95": func(o *loadRow) { o.k6.Crossed = []string{"p(95)<500"} },
		"151 MB resident":               func(o *loadRow) { o.rss, o.rssAt = 151e6, 150e6 },
		"55.1 KB allocated":             func(o *loadRow) { o.bytes = 55.1e3 },
		"1 connections to services":     func(o *loadRow) { o.made = 1 },
		"0 connections to services":     func(o *loadRow) { o.open = 4 },
		"pauses of 10ms":                func(o *loadRow) { o.pause = 10 * time.Millisecond },
		"grew by 6.7 %":                 func(o *loadRow) { o.rssAt = 45e6 },
	} {
		bad := good
		spoil(&bad)
		var text bytes.Buffer
		err := (&loadRun{rows: []loadRow{bad}}).print(&text)
		if err == nil || strings.Count(text.String(), "NOT held") != 1 ||
			!strings.Contains(text.String(), "normal: "+name) {
			t.Errorf("%s: %v\n%s", name, err, &text)
		}
	}
}

func TestAnswer_ReadsErrors(t *testing.T) {
	for body, want := range map[string]asked{
		`{"data":{"feed":{"posts":[{"id":"a"},{"id":"b"}]}}}`: {posts: 2},
		`{"data":{"feed":{"posts":[{"id":"a"}]}},"errors":[{"extensions":{"code":"UPSTREAM_TIMEOUT"}},{"extensions":{"code":"UPSTREAM_TIMEOUT"}}]}`: {posts: 1, codes: []string{"UPSTREAM_TIMEOUT"}},
		`{"data":{"feed":null},"errors":[{"extensions":{"code":"UPSTREAM_ERROR"}}]}`:                                                                {codes: []string{"UPSTREAM_ERROR"}},
	} {
		got := readAnswer(&http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))})
		if got.posts != want.posts || !slices.Equal(got.codes, want.codes) || got.err != nil {
			t.Errorf("%s: %+v", body, got)
		}
	}
	for _, resp := range []http.Response{
		{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("<html>"))},
		{StatusCode: http.StatusBadGateway, Status: "502", Body: io.NopCloser(strings.NewReader("{}"))},
	} {
		if got := readAnswer(&resp); got.err == nil {
			t.Errorf("%+v", got)
		}
	}
}

func TestSpike_Ramp(t *testing.T) {
	if got := ramps(10 * time.Minute); !slices.Equal(got, []string{"RAMP=1m0s", "HOLD=9m0s"}) {
		t.Errorf("%q", got)
	}
}
