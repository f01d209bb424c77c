package hwtest

import (
	"io"
	"strings"
	"sync"
)

// Screen is a [Viewer] that keeps the picture on a terminal, in a page of its
// own: when it is closed the terminal is as it was before.
//
// One goroutine writes, so that a terminal which is slow or stopped holds up
// nobody: pictures that it can't take are left out.
type Screen struct {
	to     io.Writer
	size   func() (width, height int)
	colour bool
	failed func()

	pages chan []byte
	done  chan struct{}
	once  sync.Once

	width, height int
}

// Control functions of a terminal (ECMA-48; those with ? are DEC's).
const (
	enterPage = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J" // other page, no cursor, no line breaks of its own
	leavePage = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
	toTop     = "\x1b[H"
	clearPage = "\x1b[2J"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// OpenScreen takes over a terminal. Size is asked before each picture; failed
// is called when the terminal is gone.
func OpenScreen(to io.Writer, size func() (width, height int), colour bool, failed func()) *Screen {
	s := &Screen{to: to, size: size, colour: colour, failed: failed, pages: make(chan []byte, 1), done: make(chan struct{})}
	go s.write()
	s.pages <- []byte(enterPage)
	return s
}

// write is the screen's goroutine.
func (s *Screen) write() {
	defer close(s.done)
	for page := range s.pages {
		if _, err := s.to.Write(page); err != nil {
			s.failed()
		}
	}
	_, _ = io.WriteString(s.to, leavePage) // the terminal may be gone
}

// Show draws the picture, unless the last one is still being written.
func (s *Screen) Show(p *Picture) {
	width, height := s.size()
	var b strings.Builder
	if width != s.width || height != s.height {
		b.WriteString(clearPage)
	}
	b.WriteString(toTop)
	for i, line := range p.Live(width, height, s.colour) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(clearLine) // first: behind a full line it would take its last cell
		b.WriteString(line)
	}
	b.WriteString(clearRest)
	select {
	case s.pages <- []byte(b.String()):
		s.width, s.height = width, height
	default:
	}
}

// Logf leaves the line out: what happened is in the picture.
func (s *Screen) Logf(string, ...any) {}

// Errorf leaves the line out: what was broken is in the summary.
func (s *Screen) Errorf(string, ...any) {}

// Close gives the terminal back. It may be called again.
func (s *Screen) Close() {
	s.once.Do(func() { close(s.pages) })
	<-s.done
}
