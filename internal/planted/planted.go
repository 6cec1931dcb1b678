// Package planted holds the bugs that the simulation must find: switches in the code, which are
// constants, and off, unless the build tag planted is set.
package planted

// A Bug is one that can be planted.
type Bug int

// The bugs. What each does stands where it is asked for.
const (
	AckBeforeSync      Bug = iota + 1 // a publish is answered, and a vote given, before the log is durable
	DeliverUncommitted                // entries are applied before a quorum has them
	ForgetProducers                   // a snapshot leaves the producers out
	NoCheckQuorum                     // a leader without a quorum goes on, and answers barriers by itself
	ApplyTwice                        // after a restart the last entry is applied again
	LoseHardState                     // votes and terms are not written
	ReuseSeq                          // a seq that was given out before a restart is given out again
	TruncateAtDamage                  // a damaged record in the middle of a log ends it silently
	KeepProducers                     // a new epoch leaves the producers of the old one open
	PolicyOutside                     // a replica takes the policy from its configuration, not from the log
	last
)

// Names of the bugs, for those who choose one.
var names = map[string]Bug{
	"ack-before-sync": AckBeforeSync, "deliver-uncommitted": DeliverUncommitted,
	"forget-producers": ForgetProducers, "no-check-quorum": NoCheckQuorum,
	"apply-twice": ApplyTwice, "lose-hard-state": LoseHardState, "reuse-seq": ReuseSeq,
	"truncate-at-damage": TruncateAtDamage, "keep-producers": KeepProducers,
	"policy-outside": PolicyOutside,
}

// All returns the names of all bugs.
func All() []string {
	list := make([]string, 0, len(names))
	for b := range last {
		for name, n := range names {
			if n == b {
				list = append(list, name)
			}
		}
	}
	return list
}
