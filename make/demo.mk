demo: build ## Data, training, release, service and ranked answers, in one go
	@$(PY) tools/demo.py

doctor: setup ## Check this machine and say how to mend it
	@$(PY) tools/doctor.py

.PHONY: demo doctor
