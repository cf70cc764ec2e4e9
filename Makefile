# The README's commands. `setup` makes .venv; every other target depends on it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO ?= demo
QUICK := --size 32 --steps 200 --precision float32 --hyperparameters base_channels=16
CLASSIFIERS := --ratio 1 --generators 1 --classifier-steps 100 --classifier-precision float32 --arms real,real+classic,combined+classic

.PHONY: setup demo test test-all check docs

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: setup
	rm -rf $(DEMO)
	$(BIN)/braingan phantom $(DEMO)/data --patients 20
	$(BIN)/braingan inspect $(DEMO)/data --out $(DEMO)/inspection
	$(BIN)/braingan augment $(DEMO)/data $(DEMO)/augmented --ratio 0.5 $(QUICK)
	$(BIN)/braingan benchmark $(DEMO)/data $(DEMO)/answer $(QUICK) $(CLASSIFIERS)
	$(BIN)/braingan benchmark $(DEMO)/data $(DEMO)/insert-answer --backend insert --batch-size 16 $(QUICK) $(CLASSIFIERS)

test: setup
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile

test-all: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/build.py

docs: setup
	$(BIN)/python docs/build.py
