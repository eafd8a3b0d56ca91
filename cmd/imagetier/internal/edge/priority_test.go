package edge

import "testing"

func TestOnlyTheLeastUrgencyIsBackground(t *testing.T) {
	for line, want := range map[string]bool{
		"u=7": true, "u=7, i": true, "i, u=7": true, "i,\tu=7;x=1": true, "u=1, u=7": true,
		"": false, "u=6": false, "i": false, "u=7, u=3": false, "u=77": false, "u=-7": false, "xu=7": false, "u": false, "U=7": false, "u = 7": false,
	} {
		if got := background([]string{line}); got != want {
			t.Errorf("Priority: %q is background %v, want %v", line, got, want)
		}
	}
	if background(nil) || !background([]string{"i", "u=7"}) {
		t.Error("without lines it is, or with several it is not")
	}
}
