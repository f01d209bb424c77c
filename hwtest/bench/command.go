package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Command sends a command with the fields given, and fills in what every command
// has where they do not say: id, issuer, epoch, seq, issued, expires. It returns
// the id and the octets, so that they can be sent again.
func (c *Centre) Command(now time.Time, name string, fields map[string]any, expires time.Duration, retained bool) (id string, octets []byte, err error) {
	c.seq++
	c.ids++
	body := map[string]any{
		"id": fmt.Sprintf("bench-%d-%d", c.epoch, c.ids), "issuer": c.issuer, "epoch": c.epoch, "seq": c.seq,
		"issued": stamp(now), "expires": stamp(now.Add(expires)),
	}
	maps.Copy(body, fields)
	id, _ = body["id"].(string)
	if octets, err = json.Marshal(body); err != nil {
		return id, nil, fmt.Errorf("write command %s: %w", name, err)
	}
	return id, octets, c.Raw(name, octets, retained)
}

// Raw sends octets as a command.
func (c *Centre) Raw(name string, octets []byte, retained bool) error {
	if err := await(c.client.Publish(c.prefix+"cmd/"+name, 1, retained, octets)); err != nil {
		return fmt.Errorf("send command %s: %w", name, err)
	}
	return nil
}
