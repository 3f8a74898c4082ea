# The release to measure, a models/<name> folder; the default is made with random weights and real sizes.
MODEL ?= $(TMP)/bench/bench
REQUESTS ?= 20000
ROUNDS ?= 5
# Flags of bench-peers.
PEERS ?=

bench: build ## Service time against the graphs alone, and memory: a report in bench/reports
	@$(PY) bench/run.py bench --model $(MODEL) --rounds $(ROUNDS) --requests $(REQUESTS)

# Histories of 200 and of 1,000 events; the releases are made where they are missing.
bench-histories: setup ## What kept and extended histories save: CPU side by side
	@for events in 200 1000; do \
		models=$(TMP)/bench/bench$$(test $$events = 200 || echo -$$events); \
		test -f $$models/current || $(PY) -W ignore bench/make_bundle.py --models $(TMP)/bench --history $$events; \
		(cd go && SHORTLIST_BENCH_MODELS=$$models go test ./cmd/shortlistd -run '^$$' -bench Histories -benchtime 3s -count 5) || exit 1; \
	done

bench-steps: setup ## Where the time of a Rank call goes, by step, on one core: make bench-steps [MODEL=models/<name>]
	@test -f $(MODEL)/current || $(PY) -W ignore bench/make_bundle.py --models $(dir $(MODEL))
	@cd go && SHORTLIST_BENCH_MODELS=$(abspath $(MODEL)) taskset -c 0 go test ./cmd/shortlistd -run '^$$' -bench '^BenchmarkSteps$$' -benchtime 5s

bench-rungs: build ## What each rung of the degradation ladder costs and saves: make bench-rungs [MODEL=models/toy]
	@$(PY) bench/rungs.py $(if $(filter command environment,$(firstword $(origin MODEL))),--model $(MODEL))

bench-diagnosis: setup ## Does the diagnosis name what was planted? Ten minutes of CPU
	@$(PY) bench/diagnosis.py

bench-peers: build ## The same release behind other servers, side by side, 25 minutes: make bench-peers [PEERS=--quick]
	@PYTHONPATH=bench $(PY) -m peers.run $(PEERS)

# Triton's server without a container; apart from the project's packages, since it needs an older numpy.
bench-peers-setup: setup ## Install what bench-peers compares with beyond this project: Triton's server in .tmp/triton
	@$(VENV)/bin/uv venv -q --allow-existing --python 3.11 $(TMP)/triton
	@VIRTUAL_ENV=$(TMP)/triton $(VENV)/bin/uv pip install -q nvidia-pytriton==0.7.0 onnxruntime==1.31.1 numpy==1.26.4

.PHONY: bench bench-histories bench-steps bench-rungs bench-diagnosis bench-peers bench-peers-setup
