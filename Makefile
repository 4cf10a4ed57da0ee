# `make demo` and `make test` need nothing but Python 3.11 to 3.13: each sets up .venv first.

PYTHON ?= python3
VENV := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test slow faults lint bench gpu

demo: $(INSTALLED)  ## watch a model learn Breakout frame by frame
	$(VENV)/python train.py fit -c configs/streaming_ae/atari.yaml --trainer.max_steps 2000

test: $(INSTALLED)
	$(VENV)/python -m pytest

slow: $(INSTALLED)  ## the tests that `make test` leaves out for their length
	$(VENV)/python -m pytest -m slow

faults: $(INSTALLED)  ## harm on purpose: the full round takes hours, ROUND=small minutes
	FAULTS=$(or $(ROUND),full) $(VENV)/python -m pytest -m slow tests/faults

lint: $(INSTALLED)
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

bench: $(INSTALLED)  ## every benchmark, results to benchmarks/results/
	for name in obgd ale streaming forgetting video flow actions mae tracking segment; do $(VENV)/python -m benchmarks $$name || exit 1; done

gpu:  ## GPU tests and benchmarks in the environment at hand; installs nothing
	$(PYTHON) -m pytest -m gpu
	$(PYTHON) -m benchmarks gpu
	$(PYTHON) -m benchmarks flow_gpu
	$(PYTHON) -m benchmarks mae_gpu

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
