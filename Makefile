# Every target does its own set-up, and does it again only when something changed. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help setup apt build playground check fix test test-rust test-python test-livekit test-wheel demo wheel bench conversions contact-sheet clean

PYTHON ?= python3
PY := .venv/bin/python
NATIVE := python/greenroom/_native.abi3.so
PYTEST := $(PY) -m pytest
UNIT ?= tests

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

setup: apt .venv/.installed tests/interop/browser/node_modules/.installed web/node_modules/.installed ## everything the other targets need

apt:
	@tools/apt_packages.sh

.venv/.installed: pyproject.toml tools/setup_venv.py
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("greenroom needs Python 3.11 or newer: make PYTHON=python3.x")'
	$(PYTHON) tools/setup_venv.py
	@touch $@

%/node_modules/.installed: %/package-lock.json
	npm ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

build: apt .venv/.installed ## the native module, development profile, into python/greenroom
	cargo build -p greenroom-binding
	@cmp -s target/debug/lib_native.so $(NATIVE) || { cp target/debug/lib_native.so $(NATIVE).$$$$ && mv $(NATIVE).$$$$ $(NATIVE); }

playground: python/greenroom/cli/web/index.html ## the page that `greenroom dev` serves

python/greenroom/cli/web/index.html: web/node_modules/.installed $(wildcard web/src/* web/*.html web/*.ts)
	npm run --silent --prefix web check
	npm run --silent --prefix web build

check: build ## the inner loop: format, lint, types, layers, unit tests of both languages
	cargo fmt --check
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) tools/check_sizes.py
	$(PY) tools/stubtest.py
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --lib
	$(PYTEST) -m unit $(UNIT)

fix: .venv/.installed ## format and repair what can be repaired by itself
	cargo fmt
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

test: setup build playground test-rust test-python test-wheel ## every test of every tier

test-rust: build
	cargo test --workspace

# What judges memory and timing has a process of its own; agents are tried on livekit-server where there is one.
OWN_PROCESS := tests/quality tests/hostile tests/soak
ON_LIVEKIT := tests/agents/test_livekit_server.py
test-python: setup build playground
	$(PYTEST) tests $(addprefix --ignore=,$(OWN_PROCESS) $(ON_LIVEKIT))
	for part in $(OWN_PROCESS); do $(PYTEST) $$part; done
	LIVEKIT_SERVER="$$(tools/livekit_server.sh)" $(PYTEST) $(ON_LIVEKIT)

test-livekit: setup build ## both clients and our agents on livekit-server: LIVEKIT_SERVER=binary, else one is built once with Go
	LIVEKIT_SERVER="$$(tools/livekit_server.sh)" $(PYTEST) tests/interop/test_livekit_server*.py $(ON_LIVEKIT)

demo: setup build playground ## a whole call in view: speech and video through the server, transformed, checked, written to demo/
	$(PY) -m greenroom demo $(DEMO)

wheel: apt .venv/.installed playground ## a self-contained release wheel in dist/
	$(PY) tools/build_wheel.py

test-wheel: wheel
	$(PYTEST) tests/repo/wheel --wheel "$$(ls -t dist/*.whl | head -1)"

bench: setup build ## the measurements of benches/, printed; LIVEKIT_SERVER=binary adds livekit-server
	cargo build --release -p greenroom-binding
	$(PY) -m greenroom bench $(BENCH)

conversions: build ## check all 121 picture conversions against exact arithmetic
	$(PY) -m greenroom.media

contact-sheet: build ## a test chart through all 121 picture conversions, to look at
	$(PY) tools/contact_sheet.py contact_sheet.png

clean: ## remove what was built, keep what was installed
	cargo clean
	rm -rf dist demo $(NATIVE)
