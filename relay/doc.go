// Package relay is Meridian's vocabulary: the nouns, the codes, the seam that every hop serves
// and consumes (Upstream, Subscription), and the Session that a carrier implements.
package relay
