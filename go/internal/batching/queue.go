package batching

import (
	"container/heap"
	"context"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// weights are what a unit of cost counts for, by priority. Under contention a critical request gets four
// times the share of a normal one and sixteen times that of a batch one, and nobody starves.
var weights = [...]int64{rank.Critical: 1, rank.Normal: 4, rank.Batch: 16}

func weightOf(p rank.Priority) int64 { return weights[min(int(p), len(weights)-1)] }

// job is the tasks of one Do call. Its fields are guarded by the pool's mutex, but for tasks[i] and
// errs[i], which belong to the worker that took task i, and are read again after done. Jobs are reused.
type job struct {
	ctx    context.Context
	tasks  []Task
	errs   []error
	weight int64
	cost   int64 // of the whole request

	next    int           // first task not taken
	running int           // tasks taken and not finished
	tag     int64         // virtual start time of task next
	order   int64         // arrival, to break ties
	place   int           // index in the heap; -1 when not in it
	failed  error         // first failure
	done    chan struct{} // gets one element when the last task has ended
}

func (j *job) begin(ctx context.Context, tasks []Task) {
	budget := rank.BudgetFrom(ctx)
	j.ctx, j.tasks, j.weight, j.place = ctx, tasks, weightOf(budget.Priority()), -1
	j.cost = budget.Cost()
	j.errs = append(j.errs[:0], make([]error, len(tasks))...)
}

// reset forgets a job that the queue and the workers know nothing of any more.
func (j *job) reset() {
	clear(j.errs)
	*j = job{errs: j.errs, done: j.done}
}

// queue is start-time fair queueing (Goyal, Vin and Cheng, 1996) over jobs: the job with the smallest
// virtual start time goes next, and each task moves its job's tag by its weighted cost. A new job starts at
// the present virtual time, so a small request waits for about one task per active job, however much work
// the others still hold.
type queue struct {
	jobs    []*job
	virtual int64 // tag of the task taken last
	arrived int64
	waiting int // tasks in all jobs
}

func (q *queue) add(j *job) {
	q.arrived++
	j.order, j.tag = q.arrived, q.virtual
	q.waiting += len(j.tasks)
	heap.Push((*jobHeap)(q), j)
}

// take removes the next task; the queue must not be empty.
func (q *queue) take() (j *job, task int) {
	j = q.jobs[0]
	q.virtual = j.tag
	return j, q.takeOf(j)
}

// takeOf removes the next task of a job, out of its turn where the job is not the first.
func (q *queue) takeOf(j *job) (task int) {
	task = j.next
	q.waiting--
	j.next++
	j.running++
	if j.next == len(j.tasks) {
		heap.Remove((*jobHeap)(q), j.place)
	} else {
		j.tag += max(j.tasks[task].Cost, 1) * j.weight
		heap.Fix((*jobHeap)(q), j.place)
	}
	return task
}

// small is the first job of a request that costs at most so much; nil when there is none.
func (q *queue) small(most int64) (first *job) {
	for i, j := range q.jobs {
		if j.cost <= most && (first == nil || (*jobHeap)(q).Less(i, first.place)) {
			first = j
		}
	}
	return first
}

// drop gives up the tasks of j that were not taken; they end with err.
func (q *queue) drop(j *job, err error) {
	if j.place >= 0 {
		heap.Remove((*jobHeap)(q), j.place)
	}
	for ; j.next < len(j.tasks); j.next++ {
		j.errs[j.next] = err
		q.waiting--
	}
}

type jobHeap queue

func (h *jobHeap) Len() int { return len(h.jobs) }

func (h *jobHeap) Less(i, k int) bool {
	a, b := h.jobs[i], h.jobs[k]
	if a.tag != b.tag {
		return a.tag < b.tag
	}
	return a.order < b.order
}

func (h *jobHeap) Swap(i, k int) {
	h.jobs[i], h.jobs[k] = h.jobs[k], h.jobs[i]
	h.jobs[i].place, h.jobs[k].place = i, k
}

func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.place = len(h.jobs)
	h.jobs = append(h.jobs, j)
}

func (h *jobHeap) Pop() any {
	last := len(h.jobs) - 1
	j := h.jobs[last]
	h.jobs[last] = nil
	h.jobs = h.jobs[:last]
	j.place = -1
	return j
}
