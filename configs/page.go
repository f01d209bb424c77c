package configs

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
)

// secretPattern is what lvagent password prints; the page itself looks closer.
var secretPattern = regexp.MustCompile(`^pbkdf2-sha256\$[0-9]{5,8}\$[A-Za-z0-9+/]{22,}\$[A-Za-z0-9+/]{43}$`)

const mostAccounts = 50

func (c *Config) validatePage(s *Source) {
	p := &c.Page
	if (p.Cert == "") != (p.Key == "") {
		s.add("page.cert", "cert and key belong together")
	}
	names := map[string]bool{}
	if len(p.Accounts) > mostAccounts {
		s.add("page.accounts", "%d, at most %d", len(p.Accounts), mostAccounts)
	}
	for i, a := range p.Accounts {
		at := fmt.Sprintf("page.accounts[%d]", i)
		if !idPattern.MatchString(a.Name) {
			s.add(at+".name", "must be 1 to 64 letters, digits, _ or -, not %q", a.Name)
		} else if names[a.Name] {
			s.add(at+".name", "%q is there twice", a.Name)
		}
		names[a.Name] = true
		s.oneOf(at+".role", a.Role, "viewer", "operator")
		if !secretPattern.MatchString(a.Secret) { // not named: somebody may have put the password there
			s.add(at+".secret", "must be what \"lvagent password\" printed")
		}
	}
	if p.Listen == "" {
		return
	}
	host, port, err := net.SplitHostPort(p.Listen)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 {
		s.add("page.listen", "must be address:port, such as 127.0.0.1:8080, not %q", p.Listen)
		return
	}
	if loopback(host) {
		return
	}
	if net.ParseIP(host) == nil {
		s.add("page.listen", "must name an address of this device, not %q: the page belongs on the maintenance port, not on every one", host)
	}
	if p.Cert == "" {
		s.add("page.listen", "%s is not loopback: the page needs cert and key", host)
	}
	if len(p.Accounts) == 0 {
		s.add("page.listen", "%s is not loopback: the page needs accounts", host)
	}
}

func (c *Config) validateMetrics(s *Source) {
	if c.Metrics.Listen == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Metrics.Listen)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 {
		s.add("metrics.listen", "must be address:port, such as 127.0.0.1:9464, not %q", c.Metrics.Listen)
	} else if !loopback(host) {
		s.add("metrics.listen", "must be on loopback, not %s: there is no password in front of it", host)
	}
}
