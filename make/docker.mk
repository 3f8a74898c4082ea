ENGINE ?= docker
IMAGE ?= shortlist
# cpu or cuda: what the server image holds.
PROVIDER ?= cpu

docker: ## Build the images of the server and the factory
	@command -v $(ENGINE) >/dev/null || { echo "docker: $(ENGINE) is not installed; install it, or set ENGINE=podman"; exit 1; }
	@$(ENGINE) info >/dev/null 2>&1 || { echo "docker: $(ENGINE) is installed, but its engine does not answer; start it and run make docker again"; exit 1; }
	$(ENGINE) build -f docker/server.Dockerfile -t $(IMAGE)-server:cpu .
	$(ENGINE) build -f docker/factory.Dockerfile -t $(IMAGE)-factory .

docker-server-files: build ## The files of the server image, in build/server
	@mkdir -p build/server
	@cp $(TMP)/bin/shortlistd build/server/
	@cp $(VENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.* build/server/
	@if [ $(PROVIDER) = cuda ]; then cp $(VENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime_providers_{shared,cuda}.so build/server/; fi

docker-factory-files: setup ## What the factory image needs beyond the sources
	@shortlist --help >/dev/null

docker-test: build ## Check the files of docker/ without an engine
	@pytest -c tests/pytest.ini docker/docker_test.py

.PHONY: docker docker-server-files docker-factory-files docker-test
