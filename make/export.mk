RUN ?= $(RUNS)/marketplace

export: setup ## Prove a run and publish it as a release: make export RUN=runs/ml-1m
	@shortlist export $(RUN) --models models

.PHONY: export
