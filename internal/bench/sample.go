package bench

import (
	"slices"
	"time"
)

// A metric is one measured figure and its unit.
type metric struct {
	Name string
	Unit string
}

// The metrics, in the order in which they are printed.
var (
	cpuPerMessage  = metric{"server CPU per message", "µs"}
	perMessage     = metric{"packets per message", ""}
	sendsPer       = metric{"system calls per message", ""}
	p50            = metric{"latency p50", "ms"}
	p99            = metric{"latency p99", "ms"}
	slowest        = metric{"latency max", "ms"}
	messageRate    = metric{"messages per second", "1/s"}
	messages       = metric{"messages", ""}
	idleCPU        = metric{"idle CPU per 1000 sessions", "ms/s"}
	rssPerSession  = metric{"RSS per session", "KB"}
	heapPerSession = metric{"heap per session", "KB"}
	stackPer       = metric{"stacks per session", "KB"}
	goroutinesPer  = metric{"goroutines per session", ""}
	rss            = metric{"RSS", "MB"}
	heap           = metric{"heap", "MB"}
	stacks         = metric{"stacks", "MB"}
	goroutines     = metric{"goroutines", ""}
	subBytes       = metric{"memory per subscription", "B"}
	subRSS         = metric{"RSS per subscription", "B"}
	readerHeap     = metric{"memory per slow reader", "KB"}
	readerRSS      = metric{"RSS per slow reader", "KB"}
	addedGo        = metric{"goroutines at rest beyond one", ""}
	ackP50         = metric{"acknowledged, p50", "ms"}
	ackP99         = metric{"acknowledged, p99", "ms"}
	ackMax         = metric{"acknowledged, max", "ms"}
	stalled        = metric{"longest time without an acknowledgement", "ms"}
	syncsPer       = metric{"syncs per message", ""}
	writtenPer     = metric{"bytes written per byte published", ""}
	diskPerLive    = metric{"disk per live byte, worst", ""}
	idleDisk       = metric{"disk per channel past its retention", "B"}
	readRate       = metric{"read", "MB/s"}
	servingAfter   = metric{"serving after", "ms"}
	restCPU        = metric{"CPU at rest", "% of a core"}
	syncsRest      = metric{"syncs at rest", ""}
	restingBytes   = metric{"memory per channel at rest", "B"}
	activeBytes    = metric{"memory per channel with a subscription", "B"}
	restCPUOf      = [groupNodes]metric{
		{"CPU at rest, node 1", "% of a core"}, {"CPU at rest, node 2", "% of a core"}, {"CPU at rest, node 3", "% of a core"},
	}
)

var metrics = []metric{
	cpuPerMessage, perMessage, sendsPer, p50, p99, slowest, messageRate, messages, idleCPU,
	rssPerSession, heapPerSession, stackPer, goroutinesPer, rss, heap, stacks, goroutines,
	subBytes, subRSS, readerHeap, readerRSS, addedGo,
	ackP50, ackP99, ackMax, stalled, syncsPer, writtenPer, diskPerLive, idleDisk, readRate, servingAfter,
	restCPU, restCPUOf[0], restCPUOf[1], restCPUOf[2], syncsRest, restingBytes, activeBytes,
}

// A sample is what one run measured.
type sample map[metric]float64

// median returns the median of each metric.
func median(samples []sample) sample {
	m := sample{}
	for _, k := range metrics {
		var v []float64
		for _, s := range samples {
			if x, ok := s[k]; ok {
				v = append(v, x)
			}
		}
		if len(v) > 0 {
			m[k] = medianOf(v)
		}
	}
	return m
}

func medianOf(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// histogram returns a function from a percentage to the time that so many did not exceed, in ms.
func histogram(took []time.Duration) func(percent int) float64 {
	sorted := slices.Sorted(slices.Values(took))
	return func(percent int) float64 { return ms(sorted[(len(sorted)-1)*percent/100]) }
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
