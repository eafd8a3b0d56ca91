package weborigin

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// recordsServer returns a Resolver whose server answers each query for IPv4 addresses with n records in
// 10.0.0.0/8, and other queries with none. If n is negative it reads queries and never answers.
func recordsServer(n int) *net.Resolver {
	serve := func(conn net.Conn) {
		defer conn.Close()
		for {
			query := make([]byte, 2) // its length
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			query = make([]byte, binary.BigEndian.Uint16(query))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			if n < 0 {
				continue
			}
			end := 12 // the question: labels, type, class
			for query[end] != 0 {
				end += int(query[end]) + 1
			}
			end += 5
			answer := append([]byte{0, 0}, query[:end]...)
			answer[4], answer[5] = 0x81, 0x80 // a response, recursion available
			clear(answer[8:14])               // no records
			if binary.BigEndian.Uint16(query[end-4:]) == 1 {
				binary.BigEndian.PutUint16(answer[8:], uint16(n))
				for i := range n {
					answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 10, 0, byte(i>>8), byte(i))
				}
			}
			binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(theirs)
		return ours, nil
	}}
}

func TestSource_Open_DNS(t *testing.T) {
	// Package net reads its configuration once, which may not be in a bubble of synctest.
	if _, err := (&net.Resolver{PreferGo: true}).LookupHost(t.Context(), "localhost"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		records int
		want    error
	}{
		"no answer":       {-1, origin.ErrUnavailable},
		"no record":       {0, origin.ErrUnavailable},
		"private records": {3000, origin.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := newSource(t, Config{Base: "http://images.example", Resolver: recordsServer(c.records)})
				began := time.Now()
				if _, err := src.Open(t.Context(), "a.jpg", origin.Cond{}); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it took %s", took)
				}
				time.Sleep(time.Minute) // the look-up ends as well
			})
		})
	}
}
