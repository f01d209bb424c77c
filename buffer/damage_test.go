package buffer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// filled makes a store of some size at path and leaves it as a crash would, or
// closed cleanly. It returns the file.
func filled(t *testing.T, path string, clean bool) []byte {
	t.Helper()
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 700)
	for i := range 10 {
		b := Batch{Put: []Put{{"window", []byte("checkpoint")}}}
		for k := range 20 {
			b.Append = append(b.Append, entry(fmt.Sprint("hh/W", k%3), hours, i, body))
		}
		b.Append = append(b.Append, entry("big", hours, i, strings.Repeat("y", 20_000)))
		mustCommit(t, s, b)
	}
	mustCommit(t, s, Batch{Ack: []Ack{{"hh/W1", 30}}})
	if clean {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !clean {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func TestUncleanStoreOpens(t *testing.T) {
	path := storePath(t)
	filled(t, path, false)
	s, r, err := OpenOrReplace(path, testOptions(), noon)
	if err != nil || r != nil {
		t.Fatalf("open: %+v, %v, want the store as it was", r, err)
	}
	defer closeAndCheck(t, s)
	if st := s.Stats(); st.Records != 210-30 || s.Generation() != 1 {
		t.Errorf("stats %+v, generation %d, want 180 records of generation 1", st, s.Generation())
	}
}

// A store that will not open is set aside, and the next generation starts.
func TestDamagedStoreIsSetAside(t *testing.T) {
	page := os.Getpagesize()
	cut := func(n int) func([]byte) []byte { return func(f []byte) []byte { return f[:n] } }
	edit := func(at int, with ...byte) func([]byte) []byte {
		return func(f []byte) []byte { copy(f[at:], with); return f }
	}
	tests := []struct {
		name  string
		clean bool
		hurt  func([]byte) []byte
	}{
		{"empty", true, cut(0)},
		{"one octet", true, cut(1)},
		{"half a page", true, cut(page / 2)},
		{"one page", true, cut(page)},
		{"two pages", true, cut(2 * page)},
		{"three pages and a half", true, cut(3*page + page/2)},
		{"half of it, unclean", false, func(f []byte) []byte { return f[:len(f)/2] }},
		{"two pages, unclean", false, cut(2 * page)},
		{"garbage", true, func(f []byte) []byte { return []byte(strings.Repeat("garbage ", 10_000)) }},
		{"zeros", true, func(f []byte) []byte { clear(f); return f }},
		{"both meta pages of another version of bbolt", true, func(f []byte) []byte { f[20]++; f[page+20]++; return f }},
		{"both meta pages with a wrong checksum", true, func(f []byte) []byte { f[64]++; f[page+64]++; return f }},
		{"zeros behind the meta pages, clean", true, func(f []byte) []byte { clear(f[2*page:]); return f }},
		{"zeros behind the meta pages, unclean", false, func(f []byte) []byte { clear(f[2*page:]); return f }},
		{"noise behind the meta pages", false, func(f []byte) []byte {
			for i := 2 * page; i < len(f); i++ {
				f[i] = byte(i * 7)
			}
			return f
		}},
		{"list of free pages with a page that is not there", true, func(f []byte) []byte {
			m := metaOf(t, f)
			return edit(int(m.freelist)*page+pageHeader, 0xff, 0xff, 0xff, 0xff)(f)
		}},
		{"list of free pages longer than its page", true, func(f []byte) []byte {
			m := metaOf(t, f)
			return edit(int(m.freelist)*page+10, 0xfe, 0xff)(f)
		}},
		{"another database of bbolt", true, func(f []byte) []byte { return foreign(t, func(*bolt.Tx) error { return nil }) }},
		{"a later format of ours", true, func(f []byte) []byte {
			return foreign(t, func(tx *bolt.Tx) error {
				for _, name := range [][]byte{bucketMeta, bucketStreams, bucketRecords, bucketState} {
					tx.CreateBucket(name)
				}
				tx.Bucket(bucketMeta).Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion+1))
				return putMeta(tx, 7, 1)
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := storePath(t)
			hurt := tt.hurt(filled(t, path, tt.clean))
			if err := os.WriteFile(path, hurt, 0o600); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(path, testOptions()); !errors.Is(err, ErrDamaged) {
				t.Fatalf("Open = %v, %v, want ErrDamaged", s, err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != string(hurt) {
				t.Fatal("Open changed a damaged file")
			}
			s, r, err := OpenOrReplace(path, testOptions(), noon)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAndCheck(t, s)
			if r == nil || r.Generation != 2 || s.Generation() != 2 || !errors.Is(r.Cause, ErrDamaged) || r.SetAside != path+".broken-20261124T120000Z" {
				t.Fatalf("replaced = %+v, generation %d", r, s.Generation())
			}
			if got, err := os.ReadFile(r.SetAside); err != nil || string(got) != string(hurt) {
				t.Error("what was set aside is not the damaged file")
			}
			mustCommit(t, s, Batch{Append: []Entry{entry("hh/W0", hours, 0, "x")}})
			if got := mustRead(t, s, "hh/W0", 0, 9); len(got) != 1 || got[0].N != 1 || got[0].G != 2 {
				t.Errorf("in the new store: %+v, want record 1 of generation 2", got)
			}
		})
	}
}

// Faults of a page's content that its header does not show.
func TestCheckFile(t *testing.T) {
	page := os.Getpagesize()
	// element finds element i of the first page of a kind with at least two.
	element := func(f []byte, kind uint16, i int) []byte {
		for at := 2 * page; at < len(f); at += page {
			p := f[at:]
			if native.Uint16(p[8:]) == kind && native.Uint16(p[10:]) > 1 && native.Uint64(p) == uint64(at/page) {
				return p[pageHeader+i*pageElement:]
			}
		}
		t.Fatalf("no page of kind 0x%02x with two elements", kind)
		return nil
	}
	tests := []struct {
		name string
		hurt func(f []byte)
		want string
	}{
		{"sound", func([]byte) {}, ""},
		{"a page with two parents", func(f []byte) {
			copy(element(f, pageBranch, 1)[8:16], element(f, pageBranch, 0)[8:16])
		}, "used twice"},
		{"a branch below itself", func(f []byte) {
			copy(element(f, pageBranch, 0)[8:16], element(f, pageBranch, -1)[:8])
		}, "used twice"},
		{"a branch to nowhere", func(f []byte) { native.PutUint64(element(f, pageBranch, 0)[8:], 1<<40) }, "outside"},
		{"a branch with its keys in the wrong order", func(f []byte) {
			e := element(f, pageBranch, 1)
			clear(e[native.Uint32(e):][:native.Uint32(e[4:])])
		}, "order"},
		{"a branch with a key above those below it", func(f []byte) {
			e := element(f, pageBranch, 1)
			e[native.Uint32(e)+native.Uint32(e[4:])-1]++
		}, "order"},
		{"a leaf with a key that belongs to the next", func(f []byte) {
			at := native.Uint64(element(f, pageBranch, 0)[8:]) * uint64(page)
			e := f[at+pageHeader+uint64(native.Uint16(f[at+10:])-1)*pageElement:]
			e[native.Uint32(e[4:])+native.Uint32(e[8:])-3] = 0xff
		}, "order"},
		{"a branch with a key below those of its parent", func(f []byte) {
			for at := 2 * page; at < len(f); at += page {
				if native.Uint16(f[at+8:]) != pageBranch {
					continue
				}
				second := f[native.Uint64(f[at+pageHeader+pageElement+8:])*uint64(page):]
				if native.Uint16(second[8:]) == pageBranch {
					e := second[pageHeader:]
					clear(e[native.Uint32(e):][:native.Uint32(e[4:])])
					return
				}
			}
			t.Fatal("no branch below a branch")
		}, "key 0"},
		{"a leaf with its keys in the wrong order", func(f []byte) {
			e := element(f, pageLeaf, 1)
			clear(e[native.Uint32(e[4:]):][:native.Uint32(e[8:])])
		}, "order"},
		{"a key outside of its leaf", func(f []byte) { native.PutUint32(element(f, pageLeaf, 0)[8:], uint32(page)) }, "outside"},
		{"a value outside of its leaf", func(f []byte) { native.PutUint32(element(f, pageLeaf, 0)[12:], uint32(page)) }, "outside"},
	}
	path := storePath(t)
	filled(t, path, true)
	s := mustOpen(t, path, testOptions())
	var b Batch
	for i := range 2000 {
		b.Append = append(b.Append, entry("deep", hours, i, strings.Repeat("x", 700)))
	}
	mustCommit(t, s, b)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Pages that are free still hold what they held. Only the tree in use counts.
			file := inUse(t, whole)
			tt.hurt(file)
			name := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(name, file, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			err = checkFile(f)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// inUse copies a file of bbolt's and clears the pages that are not in use.
func inUse(t *testing.T, file []byte) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := metaOf(t, file)
	c := &pageCheck{f: f, meta: m, seen: make([]uint64, m.pages/64+1)}
	if err := c.tree(m.root, 0, nil, nil); err != nil {
		t.Fatal(err)
	}
	out := append([]byte{}, file...)
	for p := 2; p < len(file)/int(m.pageSize); p++ {
		if c.seen[min(p/64, len(c.seen)-1)]&(1<<(p%64)) == 0 {
			clear(out[p*int(m.pageSize):][:m.pageSize])
		}
	}
	return out
}

func metaOf(t *testing.T, file []byte) *boltMeta {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := readMeta(f, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func foreign(t *testing.T, fill func(*bolt.Tx) error) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Whatever page of an unclean store is torn, opening and using it ends in an
// error or in records that are right, never in a crash.
func TestAnyTornPage(t *testing.T) {
	path := storePath(t)
	file := filled(t, path, false)
	page := os.Getpagesize()
	m := metaOf(t, file)
	for p := range int(m.pages) {
		torn := append([]byte{}, file...)
		clear(torn[p*page : (p+1)*page])
		useTorn(t, path, torn, fmt.Sprintf("page %d lost", p))
		torn = append([]byte{}, file...)
		clear(torn[p*page+page/2 : (p+1)*page])
		useTorn(t, path, torn, fmt.Sprintf("second half of page %d lost", p))
	}
}

// The same with single bits.
func TestFlippedBits(t *testing.T) { flipBits(t, false) }

func flipBits(t *testing.T, clean bool) {
	path := storePath(t)
	file := filled(t, path, clean)
	rapid.Check(t, func(rt *rapid.T) {
		torn := append([]byte{}, file...)
		// The first octets of a page are where its structure is.
		page := rapid.IntRange(0, len(torn)/os.Getpagesize()-1).Draw(rt, "page")
		at := page*os.Getpagesize() + rapid.IntRange(0, 200).Draw(rt, "octet")
		torn[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		useTorn(t, path, torn, fmt.Sprintf("octet %d", at))
	})
}

func useTorn(t *testing.T, path string, file []byte, what string) {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := OpenOrReplace(path, testOptions(), noon)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer s.Close()
	for _, st := range s.Streams(nil) {
		got, err := s.Read(st.Name, 0, nil, 1000)
		if err != nil && !errors.Is(err, ErrTorn) && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: read %s: %v", what, st.Name, err)
		}
		for _, r := range got {
			if b := string(r.Body); b != strings.Repeat("x", 700) && b != strings.Repeat("y", 20_000) {
				t.Errorf("%s: %s %d: a record that nobody wrote", what, r.Stream, r.N)
			}
		}
		if err := s.Commit(Batch{Ack: []Ack{{st.Name, st.Next - 1}}}); err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: acknowledge %s: %v", what, st.Name, err)
		}
	}
	if err := s.Commit(Batch{Append: []Entry{entry("hh/W0", hours, 0, "x")}}); err != nil && !errors.Is(err, ErrDamaged) {
		t.Errorf("%s: append: %v", what, err)
	}
}

// The file is torn under an open store: an error, and the next open replaces it.
func TestTornWhileOpen(t *testing.T) {
	path := storePath(t)
	filled(t, path, true)
	s, err := Open(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	if _, err := f.WriteAt(make([]byte, int(info.Size())-2*page), int64(2*page)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("hh/W0", 0, nil, 10); !errors.Is(err, ErrDamaged) {
		t.Errorf("read: %v, want ErrDamaged", err)
	}
	if err := s.Commit(Batch{Append: []Entry{entry("hh/W0", hours, 0, "x")}}); !errors.Is(err, ErrDamaged) {
		t.Errorf("commit: %v, want ErrDamaged", err)
	}
	if _, err := s.Get("window"); !errors.Is(err, ErrDamaged) {
		t.Errorf("get: %v, want ErrDamaged", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, r, err := OpenOrReplace(path, testOptions(), noon)
	if err != nil || r == nil || r.Generation != 2 {
		t.Fatalf("open after damage: %+v, %v, want generation 2", r, err)
	}
	closeAndCheck(t, s)
}

// The file is cut short under an open store: its mapping faults.
func TestCutShortWhileOpen(t *testing.T) {
	for _, use := range []func(*Store) error{
		func(s *Store) error { _, err := s.Read("hh/W0", 0, nil, 10); return err },
		func(s *Store) error { return s.Commit(Batch{Append: []Entry{entry("hh/W0", hours, 0, "x")}}) },
	} {
		path := storePath(t)
		filled(t, path, true)
		s, err := Open(path, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
			t.Fatal(err)
		}
		if err := use(s); !errors.Is(err, ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, r, err := OpenOrReplace(path, testOptions(), noon)
		if err != nil || r == nil {
			t.Fatalf("open after damage: %+v, %v, want a replacement", r, err)
		}
		closeAndCheck(t, s)
	}
}

func TestTornRecord(t *testing.T) {
	s := mustOpen(t, storePath(t), testOptions())
	for i := range 5 {
		mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, i, "body")}, Put: []Put{{"k", []byte("v")}}})
	}
	tear := func(bucket, key []byte, v func([]byte) []byte) {
		t.Helper()
		if err := s.db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			return b.Put(key, v(append([]byte{}, b.Get(key)...)))
		}); err != nil {
			t.Fatal(err)
		}
	}
	key := recordKey(0, 3)
	tear(bucketRecords, key[:], func(v []byte) []byte { v[len(v)-1] ^= 1; return v })
	tear(bucketState, []byte("k"), func(v []byte) []byte { v[len(v)-1] ^= 1; return v })

	if got := mustRead(t, s, "hh", 1, 10); len(got) != 2 {
		t.Errorf("read up to the torn record: %+v, want 2 records", got)
	}
	_, err := s.Read("hh", 3, nil, 10)
	var torn *TornError
	if !errors.Is(err, ErrTorn) || !errors.As(err, &torn) || torn.Stream != "hh" || torn.N != 3 || torn.Got == torn.Want {
		t.Fatalf("read of the torn record: %v, want its stream, number and both checksums", err)
	}
	if got := mustRead(t, s, "hh", 4, 10); len(got) != 2 {
		t.Errorf("read behind the torn record: %+v, want 2 records", got)
	}
	if _, err := s.Get("k"); !errors.Is(err, ErrTorn) {
		t.Errorf("get: %v, want ErrTorn", err)
	}
	tear(bucketRecords, key[:], func(v []byte) []byte { return v[:3] })
	if _, err := s.Read("hh", 3, nil, 10); !errors.Is(err, ErrTorn) {
		t.Errorf("record of 3 octets: %v, want ErrTorn", err)
	}
	// A value under another key is torn too.
	other := recordKey(0, 4)
	tear(bucketRecords, key[:], func([]byte) (v []byte) {
		s.db.View(func(tx *bolt.Tx) error { v = append(v, tx.Bucket(bucketRecords).Get(other[:])...); return nil })
		return v
	})
	if _, err := s.Read("hh", 3, nil, 10); !errors.Is(err, ErrTorn) {
		t.Errorf("record of another number: %v, want ErrTorn", err)
	}
	if err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketRecords).Delete(key[:]) }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("hh", 3, nil, 10); !errors.Is(err, ErrTorn) {
		t.Errorf("absent record: %v, want ErrTorn", err)
	}
	mustCommit(t, s, Batch{Ack: []Ack{{"hh", 5}}, Put: []Put{{"k", nil}}})
	if st := s.Stats(); st.Records != 0 || st.Bytes != 0 {
		t.Errorf("after all were taken: %+v", st)
	}
}

// A flipped bit can make a bucket of a record, which bbolt will not delete.
func TestRecordThatBecameABucket(t *testing.T) {
	path := storePath(t)
	file := filled(t, path, true)
	page := os.Getpagesize()
	for at := 2 * page; at < len(file); at += page {
		if native.Uint16(file[at+8:]) == pageLeaf {
			for i := range int(native.Uint16(file[at+10:])) {
				if e := file[at+pageHeader+i*pageElement:]; native.Uint32(e[8:]) == uint32(len(recordKey(0, 0))) {
					native.PutUint32(e, leafBucket)
				}
			}
		}
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, path, testOptions())
	if err := s.Commit(Batch{Ack: []Ack{{"hh/W0", 1}}}); !errors.Is(err, ErrDamaged) {
		t.Errorf("acknowledge: %v, want ErrDamaged", err)
	}
}

func TestGeneration(t *testing.T) {
	tests := []struct {
		name     string
		beside   string // what the generation file holds; "-" if there is none
		store    bool
		want     uint32
		replaced bool
	}{
		{"all there", "1\n", true, 1, false},
		{"generation file lost: the store knows", "-", true, 1, false},
		{"generation file unreadable: the store knows", "one", true, 1, false},
		{"generation file behind the store", "0\n", true, 1, false},
		{"an older store put back", "5\n", true, 6, false},
		{"store lost", "5\n", false, 6, true},
		{"both lost", "-", false, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := storePath(t)
			filled(t, path, true)
			if tt.beside == "-" {
				os.Remove(path + generationSuffix)
			} else if err := os.WriteFile(path+generationSuffix, []byte(tt.beside), 0o600); err != nil {
				t.Fatal(err)
			}
			if !tt.store {
				os.Remove(path)
			}
			for range 2 { // the second time everything is in order
				s, r, err := OpenOrReplace(path, testOptions(), noon)
				if err != nil {
					t.Fatal(err)
				}
				if s.Generation() != tt.want {
					t.Errorf("generation %d, want %d", s.Generation(), tt.want)
				}
				if tt.replaced != (r != nil) || r != nil && (!errors.Is(r.Cause, ErrMissing) || r.SetAside != "" || r.Generation != tt.want) {
					t.Errorf("replaced = %+v, want %v", r, tt.replaced)
				}
				tt.replaced = false
				closeAndCheck(t, s)
				if got, _ := os.ReadFile(path + generationSuffix); string(got) != fmt.Sprintln(tt.want) {
					t.Errorf("generation file holds %q, want %d", got, tt.want)
				}
			}
		})
	}
}

// With both the store and the number beside it gone, the next generation must
// still be one that was not there before.
func TestGenerationUnknown(t *testing.T) {
	path := storePath(t)
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, r, err := OpenOrReplace(path, testOptions(), noon)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAndCheck(t, s)
	if want := uint32(noon.Unix()); r.Generation != want || s.Generation() != want {
		t.Errorf("generation %d, replaced %+v, want %d", s.Generation(), r, want)
	}
}

func TestThreeStoresAsideAreKept(t *testing.T) {
	path := storePath(t)
	var last string
	for i := range 5 {
		if err := os.WriteFile(path, fmt.Append(nil, "garbage ", i), 0o600); err != nil {
			t.Fatal(err)
		}
		s, r, err := OpenOrReplace(path, testOptions(), noon.Add(time.Duration(i/2)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		last = r.SetAside
		closeAndCheck(t, s)
	}
	aside, err := filepath.Glob(path + asideSuffix + "*")
	if err != nil || len(aside) != 3 || aside[2] != last {
		t.Errorf("set aside: %v, %v, want the newest three up to %s", aside, err, last)
	}
	if got, _ := os.ReadFile(last); string(got) != "garbage 4" {
		t.Errorf("newest holds %q", got)
	}
}

func TestHalfMadeStoreIsMadeAgain(t *testing.T) {
	path := storePath(t)
	if err := os.WriteFile(path+newSuffix, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, r, err := OpenOrReplace(path, testOptions(), noon)
	if err != nil || r != nil || s.Generation() != 1 {
		t.Fatalf("open: %+v, %v, want generation 1", r, err)
	}
	closeAndCheck(t, s)
}

// What a new store would not cure is left alone.
func TestNotReplaced(t *testing.T) {
	path := storePath(t)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenOrReplace(path, testOptions(), noon); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a folder: %v, want an error that is no damage", err)
	}
	if _, _, err := OpenOrReplace(filepath.Join(t.TempDir(), "no", "queue.db"), testOptions(), noon); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("in a folder that is not there: %v, want an error that is no damage", err)
	}
	if _, err := Open(storePath(t), Options{MaxBytes: -1}); err == nil {
		t.Error("a limit below 0 was taken")
	}
}

const childLock = "BUFFER_TEST_LOCK"

func TestLockedByAnotherProcess(t *testing.T) {
	if path := os.Getenv(childLock); path != "" {
		s, err := Open(path, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("open")
		io.Copy(io.Discard, os.Stdin) // until the parent closes it
		s.Close()
		return
	}
	path := storePath(t)
	child := exec.Command(os.Args[0], "-test.run=^TestLockedByAnotherProcess$")
	child.Env = append(os.Environ(), childLock+"="+path)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "open\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	o := testOptions()
	o.OpenTimeout = 100 * time.Millisecond
	if _, _, err := OpenOrReplace(path, o, noon); !errors.Is(err, ErrLocked) || errors.Is(err, ErrDamaged) {
		t.Errorf("open while the child has it: %v, want ErrLocked", err)
	}
	if aside, _ := filepath.Glob(path + ".*"); len(aside) != 1 {
		t.Errorf("files beside the store: %v, want the generation only", aside)
	}
	stdin.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	s, r, err := OpenOrReplace(path, o, noon)
	if err != nil || r != nil {
		t.Fatalf("open after the child: %+v, %v", r, err)
	}
	closeAndCheck(t, s)
}
