"""Write dashboards/shortlist.json, the dashboard that Grafana shows. A table of panels is easier to review than its JSON.

Example: python docker/grafana/make_dashboard.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "dashboards" / "shortlist.json"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
CALLS = 'method=~"$method"'


def quantile(q: float, metric: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


# (row title, [(panel title, unit, what it tells, [(expression, legend)])])
ROWS: list[tuple[str, list[tuple[str, str, str, list[tuple[str, str]]]]]] = [
    (
        "Are callers well served?",
        [
            (
                "Calls by code",
                "reqps",
                "ResourceExhausted is shed load; InvalidArgument is the callers' fault; everything else but OK is ours.",
                [(rate("shortlist_calls_total", "code", CALLS), "{{code}}")],
            ),
            (
                "Latency",
                "s",
                "From decoded request to built response, over all methods chosen above.",
                [(quantile(q, "shortlist_call_seconds", "job", CALLS), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99, 0.999)],
            ),
            (
                "Degradations",
                "reqps",
                "Answers that a stage cut short, by rung and reason. Zero is healthy; a little in a peak is the design.",
                [(rate("shortlist_degraded_total", "rung, reason"), "{{rung}}: {{reason}}")],
            ),
            (
                "Calls in flight",
                "short",
                "A plateau at the gate's limit means overload.",
                [("sum by (instance) (shortlist_calls_in_flight)", "{{instance}}")],
            ),
            (
                "Admitted cost and its limit",
                "short",
                "In candidates. The limit follows what the server can do: at the limit means overload, a falling limit a slower server.",
                [
                    ("sum by (instance) (shortlist_gate_cost)", "{{instance}}"),
                    ("sum by (instance) (shortlist_gate_limit)", "{{instance}}: limit"),
                ],
            ),
            (
                "Refusals by reason, and the ladder",
                "short",
                "Refused calls a second; the level is rungs below full that overload has taken away.",
                [
                    (rate("shortlist_gate_shed_total", "reason"), "{{reason}}"),
                    ("max by (instance) (shortlist_ladder_level)", "{{instance}}: level"),
                ],
            ),
        ],
    ),
    (
        "Where does the time go?",
        [
            ("p50 of each stage", "s", "Time inside one stage.", [(quantile(0.5, "shortlist_stage_seconds", "stage"), "{{stage}}")]),
            ("p99 of each stage", "s", "Time inside one stage.", [(quantile(0.99, "shortlist_stage_seconds", "stage"), "{{stage}}")]),
            (
                "Items leaving a stage, for each run of it",
                "short",
                "A sudden fall in retrieval means that a source failed or that filters reject more than before.",
                [
                    (
                        f"{rate('shortlist_stage_items_total', 'stage')} / {rate('shortlist_stage_seconds_count', 'stage')}",
                        "{{stage}}",
                    )
                ],
            ),
            (
                "Candidates that left",
                "cps",
                "For a reason other than a cut. Many unknown items: callers and the release have different catalogs.",
                [(rate("shortlist_dropped_total", "reason"), "{{reason}}")],
            ),
        ],
    ),
    (
        "What is running?",
        [
            (
                "Releases",
                "short",
                "Replicas by release. Two lines for long: a roll-out is stuck.",
                [("count by (release) (shortlist_release_info == 1)", "{{release}}")],
            ),
            (
                "Providers",
                "short",
                "Replicas by what executes their graphs.",
                [("count by (provider, runtime) (shortlist_provider_info == 1)", "{{provider}} {{runtime}}")],
            ),
            (
                "Memory and goroutines",
                "bytes",
                "Flat under steady load. Goroutines follow calls in flight.",
                [('process_resident_memory_bytes{job="shortlistd"}', "{{instance}} resident")],
            ),
            (
                "Cores used",
                "short",
                "At the number of workers the server is full, and sheds.",
                [('rate(process_cpu_seconds_total{job="shortlistd"}[$__rate_interval])', "{{instance}}")],
            ),
            ("Goroutines", "short", "Growth without load is a leak.", [('go_goroutines{job="shortlistd"}', "{{instance}}")]),
            (
                "Panics and lost log lines",
                "short",
                "Both are zero. A panic is a bug; lost lines mean a slow disk.",
                [
                    ("sum(increase(shortlist_panics_total[$__rate_interval]))", "panics"),
                    ("sum(increase(shortlist_served_log_dropped_total[$__rate_interval]))", "lost lines"),
                ],
            ),
        ],
    ),
]


def panel(number: int, x: int, y: int, width: int, title: str, unit: str, text: str, queries: list[tuple[str, str]]) -> dict[str, Any]:
    targets = [
        {"refId": chr(65 + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend} for i, (expr, legend) in enumerate(queries)
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8, "lineWidth": 2}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": targets,
    }


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row, members in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
                "panels": [],
            }
        )
        y += 1
        across = 3 if len(members) % 3 == 0 else 2
        width = 24 // across
        for i, (title, unit, text, queries) in enumerate(members):
            panels.append(panel(len(panels) + 1, i % across * width, y + i // across * 8, width, title, unit, text, queries))
        y += (len(members) + across - 1) // across * 8
    method = {
        "name": "method",
        "label": "Method",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(shortlist_calls_total, method)", "refId": "method"},
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
    }
    return {
        "uid": "shortlist",
        "title": "Shortlist",
        "tags": ["shortlist"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [method]},
        "panels": panels,
    }


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(dashboard(), indent=2) + "\n")
