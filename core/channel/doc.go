// Package channel is the deterministic state machine of channels: it orders, keeps, answers
// repetitions and reads, over an ordered key-value view that it is handed.
package channel
