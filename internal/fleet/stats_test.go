package fleet

import "testing"

func TestNode_Stats_OffsetsAndMembers(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.must(t, KindTakedown, photo)
	w.settle()
	s := b.node.Stats(t.Context())
	if s.Err != nil || len(s.Members) != 2 || s.Node != s.Members[0].ID && s.Node != s.Members[1].ID || s.Alone {
		t.Errorf("stats: %+v", s)
	}
	if log := s.Logs[1]; log.Applied != 1 || log.Last != 1 || b.state.TakedownCount() != 1 {
		t.Errorf("log of takedowns: %+v, %d down", log, b.state.TakedownCount())
	}
	a.reachable = false
	a.must(t, KindLift, photo)
	w.settle()
	if s := a.node.Stats(t.Context()); s.Err == nil || s.Unsent != 1 || s.Pending == 0 || len(s.Members) != 0 {
		t.Errorf("stats without the cluster: %+v", s)
	}
}
