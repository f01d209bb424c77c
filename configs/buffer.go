package configs

import "time"

// Buffer is the store on disk.
type Buffer struct {
	Path      string       `mapstructure:"path" doc:"Folder of the store and the failsafe state."`
	MaxMB     int          `mapstructure:"max_mb" doc:"Most that records may take, in MB, those kept after they were sent included. The files take a few MB more."`
	Limits    BufferLimits `mapstructure:"limits" doc:"Most records of each class, those kept after they were sent included."`
	Endurance float64      `mapstructure:"endurance_tb" doc:"What the flash is said to endure, in TB written, for the life that lvagent status shows. 10 TB is cautious for 8 GB of eMMC in pairs of bits; the maker of the card or chip says what yours has."`
	Keep      BufferKeep   `mapstructure:"keep_days" doc:"For how many days records are kept after they were sent, for cmd/resend; 0 is not at all. Records that wait are kept whatever their age."`
}

// BufferKeep is for how many days sent records of each class are kept.
type BufferKeep struct {
	HalfHours int `mapstructure:"half_hours" doc:"Half-hour and gap records."`
	Alarms    int `mapstructure:"alarms" doc:"Raises and clears."`
	Control   int `mapstructure:"control" doc:"Acks of commands."`
	Live      int `mapstructure:"live" doc:"Real-time readings."`
	Audit     int `mapstructure:"audit" doc:"Audit records and digests."`
}

// BufferLimits is how many records of each class may wait.
type BufferLimits struct {
	HalfHours int `mapstructure:"half_hours" doc:"Half-hour records; 48 a day and way."`
	Alarms    int `mapstructure:"alarms" doc:"Raises and clears."`
	Control   int `mapstructure:"control" doc:"Acks of commands and gap records."`
	Live      int `mapstructure:"live" doc:"Real-time readings."`
	Audit     int `mapstructure:"audit" doc:"Audit records."`
}

// mostKeepDays is ten years: longer than a flash of a substation lasts.
const mostKeepDays = 3660

func (c *Config) validateBuffer(s *Source) {
	if c.Buffer.Path == "" {
		s.add("buffer.path", "must name a folder")
	}
	if c.Buffer.MaxMB < 1 {
		s.add("buffer.max_mb", "must be at least 1, not %d", c.Buffer.MaxMB)
	}
	l := c.Buffer.Limits
	for _, q := range []struct {
		key string
		n   int
	}{{"half_hours", l.HalfHours}, {"alarms", l.Alarms}, {"control", l.Control}, {"live", l.Live}, {"audit", l.Audit}} {
		if q.n < 100 {
			s.add("buffer.limits."+q.key, "must be at least 100, not %d", q.n)
		}
	}
	if d := c.Window.Digest; d < c.Window.Period || c.Window.Period <= 0 || d%c.Window.Period != 0 || (24*time.Hour)%d != 0 {
		s.add("window.digest", "must be a multiple of the period, %s, and 24h or a divisor of it, not %s", c.Window.Period, d)
	}
	k := c.Buffer.Keep
	for _, q := range []struct {
		key string
		n   int
	}{{"half_hours", k.HalfHours}, {"alarms", k.Alarms}, {"control", k.Control}, {"live", k.Live}, {"audit", k.Audit}} {
		if q.n < 0 || q.n > mostKeepDays {
			s.add("buffer.keep_days."+q.key, "must be 0 to %d, not %d", mostKeepDays, q.n)
		}
	}
	if c.Buffer.Endurance <= 0 || c.Buffer.Endurance > 1e6 {
		s.add("buffer.endurance_tb", "must be above 0 and at most 1000000, not %g", c.Buffer.Endurance)
	}
}
