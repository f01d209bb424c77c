package cost

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of processor time in /proc, the same on every Linux
// (proc(5), sysconf(_SC_CLK_TCK)).
const clockTick = 10 * time.Millisecond

// Usage is what a process took.
type Usage struct {
	CPU      float64 `json:"cpu_s_per_min"` // user and system
	Anon     uint64  `json:"rss_anon_peak"` // octets, from the start on
	File     uint64  `json:"rss_file_peak"`
	Growing  bool    `json:"rss_anon_growing"` // the peak rose in the second half: a longer run would show more
	Requests float64 `json:"modbus_requests_per_min"`
}

// watch follows one process.
type watch struct {
	pid         int
	anon, file  uint64
	half        uint64 // anonymous peak at the middle of the run
	from, to    time.Duration
	first, last ioCount
}

func newWatch(pid int) *watch { return &watch{pid: pid} }

// sample notes the memory in use now.
func (w *watch) sample() error {
	text, err := w.read("status")
	if err != nil {
		return err
	}
	anon, file, err := memory(text)
	if err != nil {
		return fmt.Errorf("read memory of process %d: %w", w.pid, err)
	}
	w.anon, w.file = max(w.anon, anon), max(w.file, file)
	return nil
}

// begin notes where the counters stand when the warm-up is over.
func (w *watch) begin() (err error) {
	w.from, w.first, err = w.counters()
	return err
}

// middle notes the peak of the first half.
func (w *watch) middle() { w.half = w.anon }

// end notes where they stand at the end.
func (w *watch) end() (err error) {
	w.to, w.last, err = w.counters()
	return err
}

func (w *watch) counters() (time.Duration, ioCount, error) {
	stat, err := w.read("stat")
	if err != nil {
		return 0, ioCount{}, err
	}
	io, err := w.read("io")
	if err != nil {
		return 0, ioCount{}, err
	}
	cpu, err := processorTime(stat)
	if err != nil {
		return 0, ioCount{}, fmt.Errorf("read processor time of process %d: %w", w.pid, err)
	}
	cpu = max(cpu, w.threadTime())
	count, err := ioCounts(io)
	if err != nil {
		return 0, ioCount{}, fmt.Errorf("read input and output of process %d: %w", w.pid, err)
	}
	return cpu, count, nil
}

// threadTime adds up what the scheduler noted of each thread, to the
// nanosecond. It lacks threads that have ended, and it is 0 with a kernel that
// keeps no such notes; /proc/PID/stat, in steps of 10 ms, lacks neither.
func (w *watch) threadTime() (sum time.Duration) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.pid)) // the pattern is well formed
	for _, t := range threads {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // it has just ended
		}
		sum += onProcessor(text)
	}
	return sum
}

// onProcessor reads a thread's time on the processor: the first number, in ns.
func onProcessor(schedstat []byte) time.Duration {
	first, _, _ := strings.Cut(string(schedstat), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}

func (w *watch) read(name string) ([]byte, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", w.pid, name))
	if err != nil {
		return nil, fmt.Errorf("measure process %d: %w", w.pid, err)
	}
	return text, nil
}

// usage returns what was measured between begin and end.
func (w *watch) usage(took time.Duration) Usage {
	return Usage{
		CPU: (w.to - w.from).Seconds() / took.Minutes(), Anon: w.anon, File: w.file,
		Growing: w.anon > w.half+w.half/20,
	}
}

// wrote returns what was written between begin and end.
func (w *watch) wrote() ioCount {
	return ioCount{disk: w.last.disk - w.first.disk, chars: w.last.chars - w.first.chars}
}

var errProc = errors.New("not as proc(5) says")

// processorTime reads user and system time from /proc/PID/stat. The second
// field is the program's name, which may hold blanks and brackets.
func processorTime(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("%w: no program name in %q", errProc, stat)
	}
	fields := strings.Fields(string(stat[end+1:]))
	const user, system = 11, 12 // utime is field 14 of all, the state after the name is 3
	if len(fields) <= system {
		return 0, fmt.Errorf("%w: %d fields after the name, want more than %d", errProc, len(fields), system)
	}
	u, err := strconv.ParseUint(fields[user], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: user time: %w", errProc, err)
	}
	s, err := strconv.ParseUint(fields[system], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: system time: %w", errProc, err)
	}
	return time.Duration(u+s) * clockTick, nil
}

// memory reads the anonymous and the file-backed resident memory from
// /proc/PID/status, in octets.
func memory(status []byte) (anon, file uint64, err error) {
	anon, err = keyed(status, "RssAnon:")
	if err != nil {
		return 0, 0, err
	}
	file, err = keyed(status, "RssFile:")
	return anon * 1024, file * 1024, err
}

// ioCount are two counts of the same writes, in octets. Neither is what reached
// the disk: the first is often far above, and 0 on a file system in memory; the
// second has the sockets too, and is not rounded up to pages.
type ioCount struct {
	disk  uint64 // write_bytes: page cache made dirty, a large folio as a whole
	chars uint64 // wchar: handed to write(2)
}

// ioCounts reads /proc/PID/io.
func ioCounts(text []byte) (c ioCount, err error) {
	if c.disk, err = keyed(text, "write_bytes:"); err != nil {
		return c, err
	}
	c.chars, err = keyed(text, "wchar:")
	return c, err
}

// keyed returns the number of the line that begins with key.
func keyed(text []byte, key string) (uint64, error) {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != key {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %s %w", errProc, key, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%w: no %s", errProc, key)
}

// The meta page of a bbolt file (bbolt doc, "Meta page"): a page header of 16
// octets, then magic, version, page size; the transaction id comes after the
// root bucket, the freelist and the high-water mark.
const (
	metaMagic    = 0xED0CDAED
	metaAt       = 16
	metaPageSize = metaAt + 8
	metaTxID     = metaAt + 48
	metaLength   = metaTxID + 8
)

// lastCommit returns the transaction number of the store in folder: the one
// thing of the store that is read, since the kernel does not count commits.
func lastCommit(folder string) (uint64, error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return 0, fmt.Errorf("look at the store: %w", err)
	}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		if n, ok, err := transaction(filepath.Join(folder, f.Name())); err != nil || ok {
			return n, err
		}
	}
	return 0, fmt.Errorf("look at the store: no store file in %s", folder)
}

// transaction returns the higher number of the two meta pages, which take turns.
func transaction(file string) (n uint64, ok bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false, fmt.Errorf("look at the store: %w", err)
	}
	defer f.Close()
	var first, second [metaLength]byte
	if _, err := f.ReadAt(first[:], 0); err != nil || binary.NativeEndian.Uint32(first[metaAt:]) != metaMagic {
		return 0, false, nil // another file
	}
	n = binary.NativeEndian.Uint64(first[metaTxID:])
	if _, err := f.ReadAt(second[:], int64(binary.NativeEndian.Uint32(first[metaPageSize:]))); err != nil {
		return 0, false, fmt.Errorf("look at the store: second meta page: %w", err)
	}
	if binary.NativeEndian.Uint32(second[metaAt:]) == metaMagic {
		n = max(n, binary.NativeEndian.Uint64(second[metaTxID:]))
	}
	return n, true, nil
}
