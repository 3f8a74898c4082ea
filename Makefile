# One door to everything. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ROOT := $(CURDIR)
VENV ?= $(ROOT)/.venv
PY := $(VENV)/bin/python
TMP := $(ROOT)/.tmp
export PATH := $(VENV)/bin:$(TMP)/bin:$(PATH)

include make/*.mk

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-21s %s\n", $$1, $$2}'
.PHONY: help
