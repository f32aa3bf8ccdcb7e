package resilience

import "sync"

// ownVars stands in for the request variables while the wrapped transport is at
// work. It may go on dialing in a goroutine that outlives the try, and reads
// variables there while handlers write theirs. Safe for concurrent use.
type ownVars struct {
	proxyProtocol any
	h1Only        any

	once sync.Once
	made map[string]any
}

// take notes the variables that a transport reads. It is called in the request's
// own goroutine.
func (v *ownVars) take(vars map[string]any) {
	v.proxyProtocol, v.h1Only = vars[proxyProtocolVar], vars[h1OnlyVar]
}

// copy takes what another try of the same request has noted.
func (v *ownVars) copy(from *ownVars) {
	v.proxyProtocol, v.h1Only = from.proxyProtocol, from.h1Only
}

// get returns the variables as a map that nobody else changes, made when it is
// first asked for: most requests find a connection and need none.
func (v *ownVars) get() map[string]any {
	v.once.Do(func() {
		v.made = make(map[string]any, 2)
		if v.proxyProtocol != nil {
			v.made[proxyProtocolVar] = v.proxyProtocol
		}
		if v.h1Only != nil {
			v.made[h1OnlyVar] = v.h1Only
		}
	})
	return v.made
}
