# `make help` lists what can be made. A fresh machine needs Python 3.11-3.13 with pip and venv, gcc, make.
# Everything is made once and again only when what it is made from has changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := help
.PHONY: help run test test-oldest test-newest lint bench faults soak scenes appliance smoke pins clean

# "3.11 /usr/bin/python3.11 3.13 ...": asked for only when an environment has to be made.
FOUND = $(eval FOUND := $$(shell packaging/find-python))$(FOUND)
OLDEST ?= $(word 1,$(FOUND))
NEWEST ?= $(word $(words $(FOUND)),x $(FOUND))
python = $(or $(word 2,$(shell packaging/find-python | grep '^$(1) ')),\
	$(error no Python $(or $(1),3.11 to 3.13) with venv and pip on this machine: install python3.11 and python3.11-venv))
# The Python that dist/nims.pyz is for: it holds compiled modules, so one only. `make appliance PYTHON=3.13` for another.
PYTHON ?= $(OLDEST)

PIP := -m pip -qq --disable-pip-version-check install --constraint packaging/constraints.txt
KERNELS := $(wildcard cython_ext/nims_ext/*.pyx cython_ext/nims_ext/*.pxd cython_ext/nims_ext/*.h)
# Browser code of others, from npm as package-lock.json names it.
VENDOR := nims_appliance/web/static/vendor
VENDORED := $(VENDOR)/uPlot.js $(VENDOR)/uPlot.css $(VENDOR)/uPlot-LICENSE.txt
# All that is in the wheel, and so in the zipapp.
SOURCES := $(KERNELS) $(VENDORED) setup.py pyproject.toml MANIFEST.in README.md LICENSE NOTICE \
	$(shell find nims_appliance plugins firmware_profiles cython_ext -type f -not -name '*.so' -not -name '*.c' \
		-not -name '*.pyc' -not -path '$(VENDOR)/*' 2>/dev/null)

## help: this list
help:
	@awk -F': ' '/^## / { printf "make %-10s  %s\n", substr($$1, 4), $$2 }' $(MAKEFILE_LIST)

## run: build what is missing and start the appliance on a simulated sonar (ARGS="..." adds options)
run: .venv/built
	@exec .venv/bin/nims run --demo $(ARGS)

## test: the tests, on the oldest and the newest supported Python of this machine
test: test-oldest test-newest

test-oldest: .venv/built
	@echo "tests on $$(.venv/bin/python --version)"
	.venv/bin/python -m pytest $(TESTS)

test-newest: test-oldest
	@if [ "$(OLDEST)" = "$(NEWEST)" ]; then \
		echo "no second Python between 3.11 and 3.13 on this machine: tested on $(OLDEST) only"; \
	else \
		$(MAKE) --no-print-directory .venv-$(NEWEST)/built && \
		echo "tests on Python $(NEWEST); the pages were tried in the browser already" && \
		.venv-$(NEWEST)/bin/python -m pytest --ignore=tests/web/browser $(TESTS); \
	fi

## lint: ruff, mypy, cython-lint, tsc
lint: .venv/built
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	PATH="$(CURDIR)/.venv/bin:$$PATH" cython-lint $(filter %.pyx %.pxd,$(KERNELS))
	packaging/npm run --silent lint

## bench: measure decoding, the bus, detection, tracking, latency, start, size and memory
bench: .venv/built .venv/bench-ready dist/nims.pyz
	.venv/bin/python -m bench

## faults: kill -9, full and broken disks, set clocks, lost peers: what is left (FAULTS="--kills 20" adds options; half an hour)
faults: .venv/built .venv/bench-ready
	.venv/bin/python -m bench.faults $(FAULTS)

## soak: many pings through the whole appliance: memory, files and sockets stay as they are (SOAK="--pings 100000")
soak: .venv/built .venv/bench-ready
	.venv/bin/python -m bench.soak $(SOAK)

## scenes: how well animals are found and followed in synthetic scenes (SCENES="--seeds 1 2" adds options; hours)
scenes: .venv/built .venv/bench-ready
	.venv/bin/python -m bench.scenes $(SCENES)

## appliance: dist/nims.pyz, the whole appliance in one file (PYTHON=3.13 for that Python)
appliance: dist/nims.pyz

## smoke: try dist/nims.pyz as an operator would
smoke: dist/nims.pyz
	NIMS_PYZ=$(CURDIR)/dist/nims.pyz .venv/bin/python -m pytest tests/smoke

## pins: write packaging/constraints.txt anew, with the newest versions that fit together
pins:
	.venv/bin/python packaging/pin.py $(call python,$(OLDEST)) $(call python,$(NEWEST)) > packaging/constraints.new
	mv packaging/constraints.new packaging/constraints.txt

## clean: remove all that was made, except recorded data
clean:
	rm -rf build dist node_modules $(VENDOR) .venv .venv-3.1[0-9] *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f $(wildcard cython_ext/nims_ext/*.so) $(patsubst %.pyx,%.c,$(wildcard cython_ext/nims_ext/*.pyx))
	find nims_appliance plugins firmware_profiles cython_ext bench tests packaging -name __pycache__ -prune -exec rm -rf {} +

# The build tools, then the project as an editable install: its Python files run from this folder.
.venv/ready: pyproject.toml packaging/constraints.txt
	@$(call make_venv,$(call python,$(OLDEST)),.venv)

.venv-3.%/ready: pyproject.toml packaging/constraints.txt
	@$(call make_venv,$(call python,3.$*),.venv-3.$*)

define make_venv
echo "installing the tools into $(2) (a minute or two the first time)"
test -x $(2)/bin/python || $(1) -m venv $(2)
$(2)/bin/python $(PIP) setuptools cython
$(2)/bin/python $(PIP) --no-build-isolation --editable '.[dev]'
touch $@
endef

# The kernels, beside their sources; only what changed is compiled.
%/built: %/ready $(KERNELS) $(VENDORED) setup.py
	@echo "compiling the kernels for $*"
	@$*/bin/python setup.py --quiet build_ext --inplace
	@touch $@

# The checker of the browser's modules, uPlot, and axe-core for the tests.
node_modules/ready: package.json package-lock.json .npmrc packaging/npm | .venv/ready
	@echo "installing the tools of the browser's code"
	@packaging/npm ci --silent
	@touch $@

# uPlot's small build defines a global name; one line makes a module of it. Another keeps the checker of types out.
$(VENDOR)/uPlot.js: node_modules/ready
	@mkdir -p $(VENDOR)
	@{ sed '1a // @ts-nocheck' node_modules/uplot/dist/uPlot.iife.min.js; echo 'export default uPlot;'; } > $@

$(VENDOR)/uPlot.css: node_modules/ready
	@mkdir -p $(VENDOR) && cp node_modules/uplot/dist/uPlot.min.css $@ && touch $@

$(VENDOR)/uPlot-LICENSE.txt: node_modules/ready
	@mkdir -p $(VENDOR) && cp node_modules/uplot/LICENSE $@ && touch $@

.venv/bench-ready: .venv/ready
	.venv/bin/python $(PIP) --no-build-isolation --editable '.[bench]'
	@touch $@

# The zipapp's own environment, when it is for another Python than .venv.
BUILDER = $(if $(filter $(OLDEST),$(PYTHON)),.venv,.venv-$(PYTHON))

# A Python that was compiled on this machine writes its own folder into what it links; other machines have no such folder.
LINKER := $(if $(filter Linux,$(shell uname -s)),LDSHARED="$(CC) -shared")

dist/nims.pyz: $(SOURCES) shiv.spec packaging/start.py packaging/preamble.py packaging/build_zipapp.py packaging/constraints.txt
	@$(MAKE) --no-print-directory $(BUILDER)/ready
	@rm -rf build/wheel && mkdir -p build/wheel dist
	@echo "building the wheel, through the source distribution"
	@$(LINKER) $(BUILDER)/bin/python -m build --no-isolation --outdir build/wheel . > build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	@$(BUILDER)/bin/python packaging/build_zipapp.py build/wheel/*.whl packaging/constraints.txt \
		$(shell sed -e '/^ *#/d' shiv.spec)
	@ls -l dist/nims.pyz | awk '{printf "%s: %.1f MB, for Python $(PYTHON)\n", $$NF, $$5 / 1e6}'
