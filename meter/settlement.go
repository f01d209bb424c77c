package meter

import "time"

// SettlementPeriod returns the number of the half-hour that begins at start, from
// 1, in the local day of place: 48 on most days, 46 and 50 on those on which
// summer time begins and ends in Great Britain. It is a label derived from start,
// which stays the key.
//
// The date of the day needs no table of time zones: start less (number - 1) half
// an hour is the local midnight.
func SettlementPeriod(start time.Time, place *time.Location) int {
	local := start.In(place)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, place)
	return int(start.Sub(midnight)/(30*time.Minute)) + 1
}
