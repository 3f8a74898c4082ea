package report

import "fmt"

// slowed is how much longer small calls may take among large ones than alone, at p99.
const slowed = 2.0

// JudgeSmall compares small calls among large ones with the same calls alone.
func (l *Load) JudgeSmall(capacity float64, alone, among Step) {
	l.Capacity = capacity
	promise := fmt.Sprintf("p99 of small calls among large ones is at most %g times that of small calls alone", slowed)
	if alone.Latency.P99 == nil || among.Latency.P99 == nil {
		l.judge(promise, false, fmt.Sprintf("%d and %d answers, too few for a p99: raise -duration", among.Latency.Count, alone.Latency.Count))
		return
	}
	times := float64(*among.Latency.P99) / float64(max(*alone.Latency.P99, 1))
	l.judge(promise, times <= slowed, fmt.Sprintf("%s among, %s alone: %.2f times", micros(among.Latency.P99), micros(alone.Latency.P99), times))
	l.judge("small calls among large ones are answered as asked", among.Answered == among.Sent && among.Degraded() == 0,
		fmt.Sprintf("%d of %d answered, %d of them degraded", among.Answered, among.Sent, among.Degraded()))
}
