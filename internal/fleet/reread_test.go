package fleet

import (
	"encoding/json"
	"testing"
)

// An operator restores a file that has one takedown more, lacks another, and has an older decision
// about a third.
func TestNode_RereadTakedowns(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	x.must(t, KindTakedown, simOriginals[0])
	x.must(t, KindTakedown, simOriginals[1])
	x.must(t, KindLift, simOriginals[1])
	const file = "/cache/takedowns"
	decided := x.fs.Text(file)
	restore := func(text string) {
		t.Helper()
		if err := x.fs.WriteFile(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	down := func() (down []bool) {
		for _, of := range simOriginals[:3] {
			down = append(down, x.state.TakenDown(of))
		}
		return down
	}
	of := func(i int) string {
		text, _ := json.Marshal(line{
			Stamp: Stamp{At: 1, Node: "b", ID: "x"}, Source: simOriginals[i].Source, Name: []byte(simOriginals[i].Name),
		})
		return string(text) + "\n"
	}
	restore("not a line\n")
	if _, err := x.node.RereadTakedowns(t.Context()); err == nil {
		t.Error("an unreadable file: no error")
	}
	if got := down(); !got[0] || got[1] || got[2] {
		t.Errorf("after an unreadable file: %v", got)
	}
	restore(of(1) + of(2))
	n, err := x.node.RereadTakedowns(t.Context())
	if err != nil || n != 1 {
		t.Errorf("%d new takedowns, %v, want 1", n, err)
	}
	if got := down(); !got[0] || got[1] || !got[2] {
		t.Errorf("after the restored file: %v, want the new one and all newer decisions", got)
	}
	// Both takedowns hold after a restart, and new decisions are written to the new file.
	x.must(t, KindTakedown, simOriginals[1])
	if text := x.fs.Text(file); len(text) < len(decided) {
		t.Fatalf("%s", text)
	}
	again, err := openRegisters(x.state.takedowns.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range simOriginals[:3] {
		if !again.takenDown(of) {
			t.Errorf("%v is not down after a restart", of)
		}
	}
}
