# `make demo` and `make test` are all a new user needs; both set up what they lack.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export UV_NO_CONFIG := 1

.PHONY: demo test wide setup lint format lock labextension bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   build, pin and verify the example on embedded parts"
	@echo "make test   all tests (ARGS='-m \"not slow\"' leaves out what fetches or builds a lot; JOBS=1)"
	@echo "make wide   what CI does not run: 300 real wheels beside uv's installation, the large fuzz corpus"
	@echo "make lint   ruff, mypy --strict, import contracts"
	@echo "make lock   resolve requirements/*.txt again"
	@echo "make labextension   build client/kitbag/labextension from client/labextension again (needs node 20)"

$(VENV)/.done: requirements/bootstrap.txt requirements/dev.txt pyproject.toml client/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation -e client -e .
	@touch $@

setup: $(VENV)/.done

demo: setup
	@$(BIN)/python examples/demo.py

# Many tests wait for a server or a network: a few processes share the work.
JOBS ?= 3
test: setup
	@$(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder $(ARGS)

wide: setup
	@KITBAG_FUZZ=20 $(BIN)/python -m pytest -m wide tests/builder $(ARGS)
	@KITBAG_FUZZ=20 $(BIN)/python -m pytest tests/builder/layers/test_fuzzed_wheels.py $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

LOCK := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 --no-header
lock:
	test -x $(UV) || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet uv; }
	$(LOCK) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(LOCK) pyproject.toml client/pyproject.toml --extra traces --no-emit-package kitbag \
		-c requirements/constraints.in -o requirements/server.txt
	$(LOCK) pyproject.toml client/pyproject.toml --extra traces --group dev --no-emit-package kitbag \
		-c requirements/server.txt -o requirements/dev.txt
	$(LOCK) requirements/jupyterlab.in client/pyproject.toml --no-emit-package kitbag \
		-c requirements/server.txt -o requirements/jupyterlab.txt

# What is built is committed, so that neither users nor CI need node; its last file says of what.
labextension: setup
	cd client/labextension && npm ci --ignore-scripts && npm run build
	$(BIN)/python client/labextension/sources.py > client/kitbag/labextension/sources.sha256

clean:
	rm -rf $(VENV) .cache .kitbag .mypy_cache .ruff_cache .pytest_cache .hypothesis
