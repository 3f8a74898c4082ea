PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_GO_GRPC := google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

# Where the stubs go; the stale-stub check generates into a scratch folder and compares.
GEN_GO ?= go/gen
GEN_PY ?= python/src/shortlist/gen

$(TMP)/bin/protoc-gen-go:
	@mkdir -p $(TMP)/bin && GOBIN=$(TMP)/bin go install $(PROTOC_GEN_GO)
$(TMP)/bin/protoc-gen-go-grpc:
	@mkdir -p $(TMP)/bin && GOBIN=$(TMP)/bin go install $(PROTOC_GEN_GO_GRPC)

generate: setup $(TMP)/bin/protoc-gen-go $(TMP)/bin/protoc-gen-go-grpc ## Regenerate the Go and Python stubs from proto/
	@$(PY) tools/generate.py --go $(GEN_GO) --python $(GEN_PY)

.PHONY: generate
