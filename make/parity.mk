PARITY_REPORT ?= $(TMP)/parity.json

parity: build ## Replay the parity cases on PyTorch, Python ONNX Runtime and shortlistd
	@SHORTLIST_PARITY_REPORT=$(PARITY_REPORT) pytest -c tests/pytest.ini tests/parity -s

cases: setup ## Rewrite the cross-language cases of tests/cases
	@$(PY) tests/cases/write_features.py --rewrite
	@$(PY) tests/cases/write_parity.py --rewrite

.PHONY: parity cases
