RECIPE ?= marketplace-demo
# A data set as `shortlist data describe` takes it; empty: the recipe's own.
DATA ?=
RUNS ?= runs

train: setup ## Train a recipe: make train RECIPE=ml-1m DATA=ml-1m:../shared/data/ml-1m
	@shortlist train $(RECIPE) $(if $(DATA),--data $(DATA)) --out $(RUNS)

.PHONY: train
