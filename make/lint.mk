STATICCHECK_VERSION := v0.7.0
STATICCHECK := $(TMP)/bin/staticcheck-$(STATICCHECK_VERSION)
# Python outside the package, linted with the package's settings.
SCRIPTS := ../tools ../tests ../bench ../docker ../bench ../docker

lint: lint-python lint-go ## Lint and type-check both languages

lint-python: setup
	@cd python && ruff check . && ruff check --config pyproject.toml $(SCRIPTS)
	@cd python && ruff format --check . && ruff format --config pyproject.toml --check $(SCRIPTS)
	@cd python && mypy && mypy ../tools/*.py

lint-go: setup $(STATICCHECK)
	@cd go && unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .); test -z "$$unformatted" || { echo "not formatted (fix with make format): $$unformatted"; exit 1; }
	@cd go && go vet ./... && $(STATICCHECK) ./...

format: setup ## Format both languages
	@cd python && ruff check -q --fix . && ruff format -q . && ruff format -q --config pyproject.toml $(SCRIPTS)
	@cd go && "$$(go env GOROOT)/bin/gofmt" -w .

$(STATICCHECK): | setup
	@mkdir -p $(TMP)/bin && GOBIN=$(TMP)/bin go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION) && mv $(TMP)/bin/staticcheck $@

.PHONY: lint lint-python lint-go format
