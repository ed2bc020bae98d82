# `make help` lists the targets. A virtual environment that is active, or named by VENV=..., is used when it holds what a
# build needs; otherwise $(VENV) is made once from $(PYTHON) and the versions in constraints.txt.
PYTHON ?= python3
VENV ?= .venv
DATA ?=
REPORT ?= report
TESTS ?= tests

# What is asked: is this a virtual environment that holds all that a build and its tests need?
CANDIDATE := $(if $(filter file,$(origin VENV)),$(PYTHON),$(VENV)/bin/python)
READY := $(shell $(CANDIDATE) -c 'import importlib.util as u, sys; \
	sys.exit(sys.prefix == sys.base_prefix or None in map(u.find_spec, sys.argv[1:]))' \
	torch pybind11 ninja setuptools pytest hypothesis ruff clang_format 2>/dev/null && echo yes)
RUN := $(if $(READY),$(CANDIDATE),$(VENV)/bin/python)
STAMP := $(if $(READY),,$(VENV)/.ready)

# Scripts that tests start find this checkout too, also in an environment where it is not installed.
FROM_HERE := PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}"

CXX_SOURCES := find csrc tests -regex '.*\.\(h\|cpp\|cu\|cuh\)'

.DEFAULT_GOAL := help
.PHONY: help build test bench lint format readme clean venv

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# Without build isolation, which would move pybind11's headers each time; ninja rebuilds only what changed.
build: $(STAMP) ## compile the extension in place (development build: warnings are errors, CUDA also emulated)
	NNZOO_BUILD_WERROR=1 NNZOO_BUILD_CUEMU=1 $(RUN) setup.py --quiet build_ext --inplace

test: build ## run the test suite (TESTS=tests/test_ops.py for a part)
	$(FROM_HERE) $(RUN) -m pytest -n auto $(TESTS)

bench: build ## train every family on stock torch and on nnzoo_fast, write $(REPORT)/index.html (DATA=DIR for real data)
	$(FROM_HERE) $(RUN) -m nnzoo_fast.main_job --out $(REPORT) $(if $(DATA),--data $(DATA))

lint: $(STAMP) ## check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(CXX_SOURCES) | PATH="$(dir $(RUN)):$$PATH" xargs clang-format --dry-run -Werror

format: $(STAMP) ## put everything into the house format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .
	$(CXX_SOURCES) | PATH="$(dir $(RUN)):$$PATH" xargs clang-format -i

readme: build ## rewrite the generated tables of README.md
	$(RUN) tools/readme.py

venv: $(STAMP) ## make the virtual environment only

# --without-pip: some systems ship Python without ensurepip, and pip can install into another environment.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(VENV)/bin/python install -c constraints.txt pip setuptools wheel pybind11 ninja
	NNZOO_BUILD_CPU=0 $(VENV)/bin/python -m pip install -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@

clean: ## remove everything that was built
	rm -rf build dist $(REPORT) *.egg-info nnzoo_fast/*.so .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -exec rm -rf {} +
