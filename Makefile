# Every verb sets up what it needs; `make` alone lists them. VENV=path puts the virtual environment elsewhere.
SHELL = /bin/sh
VENV ?= .venv
PYTHON := $(shell for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
BIN = $(VENV)/bin
SOURCES = $(wildcard gw/_fast/*.pyx gw/_fast/*.pxd gw/_fast/*.h) setup.py
FUZZ_SECONDS ?= 60
PORT ?= 8080

.PHONY: help setup build run test quick check bench asan fuzz trace clean

help:
	@echo "make run     set everything up, start gw in front of two demo services"
	@echo "make test    set everything up, run every test (about twenty minutes on two cores)"
	@echo "make quick   the tests without the slow ones"
	@echo "make check   ruff, mypy, cython-lint, stubtest, layers, instruction counts"
	@echo "make bench   gw beside nginx, haproxy and Envoy; writes benchmarks/results"
	@echo "make asan    the wire tests under AddressSanitizer and UBSan"
	@echo "make fuzz    every fuzzer for FUZZ_SECONDS ($(FUZZ_SECONDS)) seconds"
	@echo "make trace   line coverage, compiled code included"
	@echo "make build   compile gw/_fast; make clean removes what was built"

$(VENV)/.packages-build: .ci/packages
	@PYTHON="$(PYTHON)" .ci/packages build
	@if [ -z "$(PYTHON)" ]; then python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gw: Python 3.11 or newer not found; install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }; fi
	@mkdir -p $(VENV) && touch $@

$(VENV)/.packages-test: .ci/packages $(VENV)/.packages-build
	@PYTHON="$(PYTHON)" .ci/packages test && touch $@

$(VENV)/.packages-bench: .ci/packages $(VENV)/.packages-test
	@PYTHON="$(PYTHON)" .ci/packages bench && touch $@

$(VENV)/.setup: pyproject.toml $(VENV)/.packages-build
	@echo "gw: setting up $(VENV)"
	@[ -x $(BIN)/python ] || $(or $(PYTHON),python3) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check "setuptools>=77" wheel "cython>=3.1,<3.4"
	@GW_MODULES=none $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[dev]"
	@touch $@

build/.release: $(SOURCES) $(VENV)/.setup
	@echo "gw: compiling gw/_fast"
	@$(BIN)/python setup.py -q build_ext --inplace
	@mkdir -p build && touch $@

setup: $(VENV)/.setup build

build: build/.release

run: setup
	@$(BIN)/gw demo --port $(PORT)

test: setup $(VENV)/.packages-test
	$(BIN)/python -m pytest

quick: setup $(VENV)/.packages-test
	$(BIN)/python -m pytest -m "not slow"

check: setup $(VENV)/.packages-test
	$(BIN)/python -m pytest -q -m lint tests
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_source.py
	$(BIN)/python -m benchmarks.instructions --gate

bench: setup $(VENV)/.packages-bench
	@GW_MODULES=none $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[dev,bench]"
	@GW_MODULES=none $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[peers]" || echo "gw: measuring without Envoy"
	$(BIN)/python -m benchmarks

# A sanitized build lives in a copy of the tree, so that the release build beside it stays what it is.
asan: setup $(VENV)/.packages-test
	@mkdir -p build/asan
	@git ls-files -z | tar -c --null -T - | tar -x -C build/asan
	cd build/asan && GW_BUILD=asan $(abspath $(BIN))/python setup.py -q build_ext --inplace
	cd build/asan && PYTHONPATH=$$PWD LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
		$(abspath $(BIN))/python -m pytest -p no:cacheprovider --timeout 300 -m "not speed" tests/wire tests/unit

trace: setup
	@mkdir -p build/trace
	@git ls-files -z | tar -c --null -T - | tar -x -C build/trace
	$(BIN)/python -m pip install -q --disable-pip-version-check coverage
	cd build/trace && GW_BUILD=trace $(abspath $(BIN))/python setup.py -q build_ext --inplace
	cd build/trace && PYTHONPATH=$$PWD $(abspath $(BIN))/python -m coverage run -m pytest tests/unit && $(abspath $(BIN))/python -m coverage report

fuzz: setup
	@for f in tests/fuzz/fuzz_*.py; do echo "$$f"; $(BIN)/python $$f --seconds $(FUZZ_SECONDS) || exit 1; done

clean:
	rm -rf build dist gw.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f gw/_fast/*.so gw/_fast/*.c gw/_fast/*.html
