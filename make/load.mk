# SCENARIO is a file of bench/scenarios; the others override it when set. Without ADDRESS a server is started.
SCENARIO ?= steps
ADDRESS ?=
RATE ?=
DURATION ?=
MODE ?=
# Settings of the server that is started: SETTINGS="funnel.worst_rung=full".
SETTINGS ?=

load: build ## Open-loop load: make load [SCENARIO=steps ADDRESS= RATE=20,40 DURATION=10s MODE=rank SETTINGS=]
	@$(PY) bench/run.py load --scenario $(SCENARIO) --model $(MODEL) $(if $(ADDRESS),--address $(ADDRESS)) $(foreach s,$(SETTINGS),--set $(s)) -- \
	  $(if $(RATE),-rate $(RATE)) $(if $(DURATION),-duration $(DURATION)) $(if $(MODE),-calls $(MODE))

.PHONY: load
