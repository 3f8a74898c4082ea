# The server. CPU: docker build -f docker/server.Dockerfile .
# CUDA:          docker build -f docker/server.Dockerfile --build-arg BASE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 --build-arg PROVIDER=cuda .
ARG BASE=debian:bookworm-slim

FROM python:3.11-slim-bookworm AS build
# The C compiler is for cgo, which only the binding of ONNX Runtime uses.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile ./
COPY make make
COPY python python
COPY go go
ARG PROVIDER=cpu
RUN make docker-server-files PROVIDER=${PROVIDER}

# hadolint ignore=DL3006
FROM ${BASE}
ARG PROVIDER=cpu
COPY --from=build /src/build/server /opt/shortlist
USER 65532:65532
ENV SHORTLIST_RUNTIME_LIBRARY=/opt/shortlist \
    SHORTLIST_RUNTIME_PROVIDER=${PROVIDER} \
    SHORTLIST_MODELS=/models \
    SHORTLIST_DATA_ADDRESS=0.0.0.0:7070 \
    SHORTLIST_METRICS_ADDRESS=0.0.0.0:7072
# The admin port stays on the container's loopback: docker exec reaches it, the network does not.
EXPOSE 7070 7072
ENTRYPOINT ["/opt/shortlist/shortlistd"]
