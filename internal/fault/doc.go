// Package fault holds the tests that hurt a whole fleet of real processes under load: it kills,
// freezes and cuts off nodes and spoils their disks, and lets internal/check judge what publishers
// and subscribers went through.
package fault
