package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
)

// loadCollector shows at each scrape how full the gate and the pool are. Labels are closed sets: reasons
// of the gate, and the tenants that the configuration names.
type loadCollector struct {
	gate *batching.Gate
	pool *batching.Pool
	f    *funnel.Funnel

	level, limit, cost, waiting, tenants, queued, workers *prometheus.Desc
	admitted, shed, tenantCost                            *prometheus.Desc
}

func newLoadCollector(gate *batching.Gate, pool *batching.Pool, f *funnel.Funnel) *loadCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &loadCollector{
		gate: gate, pool: pool, f: f,
		level:      desc("shortlist_ladder_level", "How far overload has the ladder down, in rungs below full; between two, a share of users has the lower."),
		limit:      desc("shortlist_gate_limit", "Cost that the gate would admit now, in candidates: it follows what the server can do."),
		cost:       desc("shortlist_gate_cost", "Cost that the gate has admitted, in candidates."),
		waiting:    desc("shortlist_gate_waiting", "Requests that wait at the gate."),
		tenants:    desc("shortlist_gate_tenants", "Tenants that the gate tells apart now."),
		queued:     desc("shortlist_pool_queued", "Tasks that wait for a worker."),
		workers:    desc("shortlist_pool_workers", "Workers of the pool."),
		admitted:   desc("shortlist_gate_admitted_total", "Requests that the gate admitted."),
		shed:       desc("shortlist_gate_shed_total", "Requests that the gate refused, by reason.", "reason"),
		tenantCost: desc("shortlist_tenant_cost_total", "Cost that the gate admitted, by tenant of gate.tenant_weights; other is the rest.", "tenant"),
	}
}

func (c *loadCollector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

func (c *loadCollector) Collect(out chan<- prometheus.Metric) {
	stats := c.gate.Stats()
	gauge := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	count := func(desc *prometheus.Desc, value int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	gauge(c.level, c.f.Level())
	gauge(c.limit, float64(stats.Limit))
	gauge(c.cost, float64(stats.InUse))
	gauge(c.waiting, float64(stats.Waiting))
	gauge(c.tenants, float64(stats.Tenants))
	gauge(c.queued, float64(c.pool.Queued()))
	gauge(c.workers, float64(c.pool.Workers()))
	count(c.admitted, stats.Admitted)
	for _, reason := range batching.ShedReasons {
		count(c.shed, stats.Shed[reason], reason)
	}
	for tenant, cost := range stats.TenantCost {
		count(c.tenantCost, cost, tenant)
	}
}
