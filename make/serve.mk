# MODEL has another default for bench; here it counts only where somebody set it. FLAGS are settings of shortlistd.
serve: build ## Serve a model folder: make serve MODEL=models/marketplace FLAGS="-debug.allow_all=true"
	@shortlistd -models=$(if $(filter command environment,$(firstword $(origin MODEL))),$(MODEL),models/toy) -store.path=$(TMP)/users.db $(FLAGS)

.PHONY: serve
