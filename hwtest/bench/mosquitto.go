package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Mosquitto is a real broker in a process of its own, on a port of loopback that
// stays the same when it is killed and started again. It keeps nothing over that.
type Mosquitto struct {
	program, conf, addr string
	cmd                 *exec.Cmd
	ended               chan error
}

// ErrNoMosquitto is the absence of the broker.
var ErrNoMosquitto = errors.New("no mosquitto in $PATH or /usr/sbin; Debian's package of that name has it")

// FindMosquitto returns the broker's program. Debian has it where only root's
// $PATH leads.
func FindMosquitto() (string, error) {
	if program, err := exec.LookPath("mosquitto"); err == nil {
		return program, nil
	}
	const program = "/usr/sbin/mosquitto"
	if _, err := os.Stat(program); err != nil {
		return "", ErrNoMosquitto
	}
	return program, nil
}

// StartMosquitto starts a broker whose configuration is in folder.
func StartMosquitto(folder string) (*Mosquitto, error) {
	program, err := FindMosquitto()
	if err != nil {
		return nil, err
	}
	// Somebody else may take the port between the look and the start.
	for try := 0; ; try++ {
		addr, err := FreePort()
		if err != nil {
			return nil, err
		}
		m := &Mosquitto{program: program, addr: addr, conf: filepath.Join(folder, "mosquitto.conf")}
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("start mosquitto: %w", err)
		}
		// Without a bound on what is under way, all that the broker acknowledged is
		// in the consumer's socket, even when the broker is killed.
		text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\n" +
			"max_inflight_messages 0\nmax_queued_messages 0\nlog_type error\n"
		if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("start mosquitto: %w", err)
		}
		if err = m.Start(); err == nil {
			return m, nil
		}
		if try == 2 {
			return nil, err
		}
	}
}

// FreePort returns an address of loopback on which nobody listens now.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("look for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Addr returns host:port.
func (m *Mosquitto) Addr() string { return m.addr }

const brokerStart = 10 * time.Second

// Start starts a broker that was killed, and waits until it listens.
func (m *Mosquitto) Start() error {
	if m.cmd != nil {
		return nil
	}
	cmd := exec.Command(m.program, "-c", m.conf)
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.program, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(brokerStart); ; {
		if c, err := net.Dial("tcp", m.addr); err == nil {
			c.Close()
			break
		}
		select {
		case err := <-ended:
			return fmt.Errorf("start mosquitto on %s: it ended: %v", m.addr, err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			<-ended
			return fmt.Errorf("start mosquitto on %s: it does not listen after %v", m.addr, brokerStart)
		}
	}
	m.cmd, m.ended = cmd, ended
	return nil
}

// Signal sends the broker a signal, as SIGSTOP to freeze it.
func (m *Mosquitto) Signal(s syscall.Signal) error {
	if m.cmd == nil {
		return errors.New("signal mosquitto: it does not run")
	}
	return m.cmd.Process.Signal(s)
}

// Kill ends the broker at once.
func (m *Mosquitto) Kill() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill() // it may have ended already
		<-m.ended
		m.cmd = nil
	}
}
