# SCENARIO is a file of bench/scenarios; the others override it when set. Without ADDRESS a server is started.
SCENARIO ?= steps
ADDRESS ?=
RATE ?=
DURATION ?=
MODE ?=

load: build ## Open-loop load: make load [SCENARIO=steps ADDRESS= RATE=20,40 DURATION=10s MODE=rank]
	@$(PY) bench/run.py load --scenario $(SCENARIO) --model $(MODEL) $(if $(ADDRESS),--address $(ADDRESS)) -- \
	  $(if $(RATE),-rate $(RATE)) $(if $(DURATION),-duration $(DURATION)) $(if $(MODE),-calls $(MODE))

.PHONY: load
