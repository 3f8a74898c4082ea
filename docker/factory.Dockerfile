# The factory: docker build -f docker/factory.Dockerfile . ; docker run IMAGE train --help
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile ./
COPY make make
COPY python python
RUN make docker-factory-files
RUN useradd --uid 65532 --create-home factory && mkdir -p /models /runs && chown factory /models /runs
USER 65532
WORKDIR /home/factory
ENTRYPOINT ["/src/.venv/bin/shortlist"]
