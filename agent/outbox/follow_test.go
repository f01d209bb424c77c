package outbox

import (
	"testing"

	"lvagent/agent/uplink"
)

// TestFollowerReadsWhatIsProved: the second session has every record, whatever the
// first one had acknowledged meanwhile, and deletes none.
func TestFollowerReadsWhatIsProved(t *testing.T) {
	folder := t.TempDir()
	o := open(t, folder)
	stop := run(t, o)
	for i := range 5 {
		o.Store(false, record("hh/W1", i))
	}
	stop()
	o = open(t, folder)
	stop = run(t, o)
	f := o.Follow()
	first := func() uplink.Stream {
		t.Helper()
		all := f.Streams(nil)
		if len(all) != 1 {
			t.Fatalf("streams %v", all)
		}
		return all[0]
	}
	if st := first(); st.First != 1 || st.Next != 6 {
		t.Fatalf("%v, want 1 to 5", st)
	}
	f.Ack("hh/W1", 2)
	o.Ack("hh/W1", 4)
	stop()
	o = open(t, folder)
	if got := o.Streams(nil); got[0].First != 5 {
		t.Errorf("%v, want 5: a follower deletes nothing", got[0])
	}
	f.box = o
	if st := first(); st.First != 3 {
		t.Errorf("%v, want from 3 on, which the other session has proved", st)
	}
	got, err := f.Read("hh/W1", 3, nil, 10)
	if err != nil || len(got) != 3 || got[0].N != 3 {
		t.Errorf("%v, %v; want 3 to 5", got, err)
	}
	// Another one goes on where it was: nothing comes again, and nothing is left out
	// that the other session was ahead by.
	if st := o.Follow().Streams(nil)[0]; st.First != 3 {
		t.Errorf("a follower after a restart starts at %v, want 3", st.First)
	}
	o.Unfollow()
	if !o.commit() || o.Get(followKey) != nil {
		t.Error("the place is not forgotten")
	}
	if st := o.Follow().Streams(nil)[0]; st.First != 5 {
		t.Errorf("one that comes anew starts at %v, want what is not proved", st.First)
	}
}
