RECIPE ?= marketplace-demo
# A data set as `shortlist data describe` takes it; empty: the recipe's own.
DATA ?=
RUNS ?= runs

train: setup ## Train a recipe: make train RECIPE=ml-1m DATA=ml-1m:../shared/data/ml-1m
	@shortlist train $(RECIPE) $(if $(DATA),--data $(DATA)) --out $(RUNS)

diagnose: setup ## Say how data is made, and write a recipe: make diagnose DATA=ml-100k:../shared/data/ml-100k
	@shortlist diagnose $(DATA)

.PHONY: train diagnose
