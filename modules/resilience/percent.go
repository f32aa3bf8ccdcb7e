package resilience

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Percent is a share, written as in "50%", in JSON too.
type Percent float64

// ParsePercent reads a share of 0% to 100%.
func ParsePercent(s string) (Percent, error) {
	digits, ok := strings.CutSuffix(s, "%")
	if !ok {
		return 0, fmt.Errorf("%q is not a percentage such as 50%%", s)
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return 0, fmt.Errorf("%q is not a percentage from 0%% to 100%%", s)
	}
	return Percent(v), nil
}

// Share returns the percentage as a number from 0 to 1.
func (p Percent) Share() float64 { return float64(p) / 100 }

func (p Percent) String() string {
	return strconv.FormatFloat(float64(p), 'g', -1, 64) + "%"
}

// MarshalJSON implements json.Marshaler.
func (p Percent) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (p *Percent) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a percentage such as \"50%%\"", b)
	}
	v, err := ParsePercent(s)
	*p = v
	return err
}
