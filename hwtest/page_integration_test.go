//go:build integration

package hwtest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"lvagent/hwtest/bench"
)

// The status page in a real browser, as somebody with a phone in the substation
// uses it: signs in, reads, holds a group off, acknowledges nothing that is not
// there, and is told when what he sees is old. With LVBENCH_SCREENSHOTS the
// pictures are kept in that folder.
func TestPageInABrowser(t *testing.T) {
	const password = "correct horse"
	secret := secretOf(t, password)
	world := bench.NewWorld(1)
	meters, err := bench.StartMeters(world)
	if err != nil {
		t.Fatal(err)
	}
	defer meters.Close()
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	centre, err := bench.JoinCentre(broker.Addr(), "bench-1", "scada-1")
	if err != nil {
		t.Fatal(err)
	}
	defer centre.Close()
	address, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	site := bench.Site{
		Agent: "bench-1", Store: filepath.Join(folder, "store"), Meters: meters.URL(), Broker: broker.Addr(), Issuer: "scada-1",
		Window: 10 * time.Second, Page: address,
		Timers: bench.Timers{HeartbeatPeriod: time.Second, HeartbeatTimeout: 4 * time.Second, Stable: 3 * time.Second,
			Init: 6 * time.Second, RestorePeriod: 4 * time.Second, BackoffMax: time.Second},
	}
	text, err := site.File(world)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("    listen: "+address), []byte("    listen: "+address+
		"\n    accounts:\n        - {name: anna, role: operator, secret: \""+secret+"\"}\n        - {name: bert, role: viewer, secret: \""+secret+"\"}"), 1)
	file := filepath.Join(folder, "site.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	agent, err := bench.StartAgent(&log, program, "run", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-centre.Heard():
			case <-tick.C:
				meters.Step(meters.Now(), 0.6)
			}
		}
	}()
	defer func() { close(quit); <-done }()
	eventually(t, "the page listens", 20*time.Second, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})

	b := newBrowser(t)
	b.do(chromedp.EmulateViewport(1300, 900), chromedp.Navigate("http://"+address))
	b.sees(`!document.querySelector("#door").hidden && document.querySelector("#board").hidden`)
	b.signIn("anna", "wrong password")
	b.sees(`document.querySelector("#denied").textContent.includes("wrong name or password")`)
	b.signIn("anna", password)
	b.sees(`document.querySelectorAll("#ways article").length === 6`)
	b.sees(`document.querySelector("#age").textContent === "live"`)
	b.sees(`[...document.querySelectorAll("#ways [role=meter]")].every(m => /A of \d+ A/.test(m.getAttribute("aria-valuetext")))`)
	b.sees(`document.querySelector("#ways article p:nth-of-type(2)").textContent.includes("Ends by")`)
	b.sees(`document.querySelectorAll("#health tr").length > 5`)
	b.picture("desktop")

	// Held off by name, with a reason and an end; a release is not offered.
	b.do(chromedp.Click(chromedp.CSS(`[data-override="W1-cars-1"]`)))
	b.sees(`document.querySelector("#ask").open && document.querySelector("#release").hidden`)
	b.do(chromedp.SendKeys(chromedp.CSS(`#ask [name=why]`), "jointing on W1"))
	b.picture("override")
	b.do(chromedp.Click(chromedp.CSS(`#go`)))
	b.sees(`!document.querySelector("#ask").open && document.querySelector("#overrides").textContent.includes("hold off by anna (local), jointing on W1")`)
	b.sees(`[...document.querySelectorAll("#groups tr")].some(r => r.textContent.includes("W1-cars-1") && r.textContent.includes("L1 0"))`)

	// By keyboard alone: from the top of the page to the same dialog and out again.
	b.do(chromedp.Focus(chromedp.CSS(`[data-override="W2-cars-1"]`)), chromedp.KeyEvent("\r"))
	b.sees(`document.querySelector("#ask").open && document.querySelector("#ask-title").textContent.includes("W2-cars-1")`)
	b.do(chromedp.KeyEvent("\u001b"))
	b.sees(`!document.querySelector("#ask").open`)

	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
		return err
	}), chromedp.EmulateViewport(390, 844))
	b.sees(`[...document.querySelectorAll("body > *, main > *")].every(e => e.scrollWidth <= innerWidth)`)
	b.picture("phone")

	// A viewer may look and finds nothing to press.
	b.do(chromedp.Click(chromedp.CSS(`#out`)))
	b.sees(`!document.querySelector("#door").hidden && document.querySelector("#ways").children.length === 0`)
	b.signIn("bert", password)
	b.sees(`document.querySelectorAll("#ways article").length === 6 && !document.querySelector("#board").hidden && document.querySelector("[data-override]").offsetParent === null`)

	// When the agent is gone, what is shown is said to be old.
	if _, err := agent.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	b.sees(`document.body.classList.contains("old") && document.querySelector("#age").textContent.startsWith("Not live")`)
	b.picture("gone")
	if strings.Contains(log.String(), password) {
		t.Error("a password is in the log")
	}
}

func secretOf(t *testing.T, password string) string {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "password")
	cmd.Stdin = strings.NewReader(password + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// browser is a headless Chromium with one page.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.ExecPath(program))
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	ctx, end = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(end)
	return &browser{t, ctx}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// sees waits until an expression of the page is true.
func (b *browser) sees(expression string) {
	b.t.Helper()
	eventually(b.t, "in the page: "+expression, 30*time.Second, func() bool {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		return err == nil && is
	})
}

func (b *browser) signIn(name, password string) {
	b.t.Helper()
	b.sees(`document.querySelector("#door").reset() === undefined`)
	b.do(chromedp.SendKeys(chromedp.CSS(`#door [name=name]`), name),
		chromedp.SendKeys(chromedp.CSS(`#door [name=password]`), password+"\r"))
}

// picture keeps what the page looks like, where somebody wants to look at it.
func (b *browser) picture(name string) {
	b.t.Helper()
	shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if folder := os.Getenv("LVBENCH_SCREENSHOTS"); folder != "" {
		if err := os.WriteFile(filepath.Join(folder, name+".png"), shot, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}
