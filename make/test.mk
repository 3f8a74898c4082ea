# Workers of pytest; tests keep torch to one thread each.
WORKERS ?= 2
GO_PACKAGES ?= ./...

build: setup ## Build shortlistd and shortlist-load into .tmp/bin
	@mkdir -p $(TMP)/bin && cd go && go build -o $(TMP)/bin/ ./cmd/...

test: test-python test-go test-cross ## Run every test: Python, Go with the race detector, both together

test-python: setup
	@echo "== python"; cd python && pytest -n $(WORKERS)

test-go: setup
	@echo "== go"; cd go && go test -race $(GO_PACKAGES) && go test -run FindsALeak ./cmd/shortlist-load

test-cross: build
	@echo "== cross-language, bench, docker"; pytest -c tests/pytest.ini tests bench docker

.PHONY: build test test-python test-go test-cross
