# `make help` lists the targets. Each sets up what it needs in .venv and remembers it by stamps: a repeated call is quick.
# Tests and tools use the package as a user has it: the wheel, installed in .venv; never the source tree.

.DELETE_ON_ERROR:
.SUFFIXES:
.NOTPARALLEL: # cargo and pytest use the cores themselves

VENV ?= .venv
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
LOCKSTEP_ARGS ?=
SIM_ARGS ?= --minutes 8 --profile mixed
MUTANTS_ARGS ?=

BIN := $(VENV)/bin
PYTHON_RUN := $(BIN)/python -P
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
STAMPS := $(VENV)/stamps
WORKSPACE := --workspace --locked
# The extension module is tested from Python; a Rust test program of it would need a linkable libpython.
TESTED := $(WORKSPACE) --exclude d-engine-py

# One interpreter for every cargo call: a change of it would build the bindings again.
export PYO3_PYTHON := $(abspath $(BIN)/python)
unexport PYTHONPATH
unexport PYTHONHOME

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust proto -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.proto' \) 2>/dev/null)
PACKAGE_SOURCES := pyproject.toml README.md $(RUST_SOURCES) \
	$(shell find python -type f -not -name '*.pyc' -not -name '*.so' 2>/dev/null)

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

# ---- environment ----------------------------------------------------------------------------------------------------

$(STAMPS)/venv: tools/preflight.sh
	@python=$$(sh tools/preflight.sh) && echo "environment: $(VENV), made by $$python" && \
		{ [ -x $(BIN)/python ] || "$$python" -m venv $(VENV); }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/%: requirements/%.txt $(STAMPS)/venv
	$(PIP) install --quiet --require-hashes -r $<
	@touch $@

# The version of a wheel does not change from edit to edit, hence the forced installation; its one dependency is locked
# in requirements/test.txt.
$(STAMPS)/wheel: $(STAMPS)/build $(STAMPS)/test $(PACKAGE_SOURCES)
	@rm -rf dist/wheel
	$(BIN)/maturin build --release --locked --quiet --out dist/wheel
	$(PIP) install --quiet --no-deps --no-index --force-reinstall dist/wheel/*.whl
	@rm -f $(STAMPS)/dev
	@touch $@

$(STAMPS)/dev: $(STAMPS)/build $(STAMPS)/test $(RUST_SOURCES)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --locked --quiet
	@rm -f $(STAMPS)/wheel
	@touch $@

.PHONY: wheel
wheel: $(STAMPS)/wheel ## Build the wheel into dist/wheel and install it in .venv
	@ls dist/wheel/*.whl

.PHONY: dev
dev: $(STAMPS)/dev ## Editable installation with an unoptimized core: Python edits count at once, Rust edits after `make dev`

.PHONY: sdist
sdist: $(STAMPS)/build ## Build the source distribution into dist/sdist, and a wheel from it alone
	@rm -rf dist/sdist dist/from-sdist build/sdist
	$(BIN)/maturin sdist --out dist/sdist
	@mkdir -p build/sdist && tar -xzf dist/sdist/*.tar.gz -C build/sdist --strip-components=1
	cd build/sdist && CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$(abspath target)}" \
		$(abspath $(BIN)/maturin) build --profile dev --locked --quiet --out $(abspath dist/from-sdist)
	@rm -rf build/sdist && ls dist/sdist/* dist/from-sdist/*

# ---- tests ----------------------------------------------------------------------------------------------------------

.PHONY: test
test: test-rust test-python ## All tests, Rust and Python, at the default counts

.PHONY: test-rust
test-rust: $(STAMPS)/venv ## cargo test over the workspace
	cargo test $(TESTED) --quiet

.PHONY: test-python
test-python: $(STAMPS)/wheel ## pytest against the installed wheel; PYTEST_ARGS="-k leader" chooses
	$(PYTHON_RUN) -m pytest $(PYTEST_ARGS)

.PHONY: browser
browser: ## See to it that there is a Chromium: the tests look at the simulator's pages in it
	@sh tools/chromium.sh

.PHONY: lockstep
lockstep: $(STAMPS)/wheel ## Both cores and drivers on the same inputs, compared step by step; LOCKSTEP_ARGS="--minutes 4 --seed 7 --jobs 2"
	$(PYTHON_RUN) tests/protocol/lockstep/run.py $(LOCKSTEP_ARGS)

.PHONY: sim
sim: ## Simulated clusters under faults, every promise checked; SIM_ARGS="--seeds 1000 --minutes 5 --profile disks --seed 7"
	cargo run --release --locked --quiet -p d-engine-sim --bin d-engine-sim -- $(SIM_ARGS)

.PHONY: full-sim
full-sim: ## The full count of seeds; the report goes to build/full-sim.txt
	@mkdir -p build
	cargo run --release --locked --quiet -p d-engine-sim --bin d-engine-sim -- \
		--seeds 102000 --minutes 60 --profile mixed --faults-for 36000000 --jobs 2 --report build/full-sim.txt

.PHONY: check
check: lint ## For every edit, under 5 minutes: all lints, and the tests that are quick
	cargo test $(TESTED) --quiet
	$(PYTHON_RUN) -m pytest -n 2 --dist loadfile -m "not process and not slow and not netns and not soak" $(PYTEST_ARGS)

.PHONY: coverage-core
coverage-core: $(STAMPS)/wheel $(STAMPS)/coverage ## Lines of both cores that no directed test reaches; needs LLVM's tools
	$(PYTHON_RUN) tools/line_coverage.py rust python

.PHONY: full-process
full-process: $(STAMPS)/wheel ## The full counts of kills, power cuts and floods; the report goes to build/full-process.txt
	@mkdir -p build
	D_ENGINE_FULL=1 sh tools/logged.sh build/full-process.txt \
		'cargo test $(TESTED) --release --quiet -- --show-output' \
		'$(PYTHON_RUN) -m pytest -s -m "process or slow or soak" $(PYTEST_ARGS)'

.PHONY: mutants
mutants: $(STAMPS)/wheel ## Plant each fault of tests/mutants/table.toml and rust/sim/tests/planted and show what finds it; MUTANTS_ARGS="--only 05" chooses
	@mkdir -p build
	sh tools/logged.sh build/mutants.md '$(PYTHON_RUN) tools/mutants.py $(MUTANTS_ARGS)'
	cargo test --locked --quiet -p d-engine-sim --features mutants --test planted

# ---- style, lints, types --------------------------------------------------------------------------------------------

.PHONY: lint
lint: lint-style lint-rust lint-types ## rustfmt, clippy, ruff, pyright, mypy, stubtest, typos

.PHONY: lint-style
lint-style: $(STAMPS)/lint
	cargo fmt --all --check
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/typos
	sh tools/sizes.sh

.PHONY: lint-rust
lint-rust: $(STAMPS)/venv
	cargo clippy $(WORKSPACE) --all-targets --quiet -- -D warnings

.PHONY: lint-types
lint-types: $(STAMPS)/lint $(STAMPS)/test $(STAMPS)/wheel
	$(BIN)/pyright --pythonpath $(BIN)/python --warnings
	$(BIN)/mypy
	MYPYPATH=python $(PYTHON_RUN) -m mypy.stubtest d_engine --mypy-config-file tools/stubtest.ini --concise --allowlist tools/stubtest-allowlist.txt

.PHONY: format
format: $(STAMPS)/lint ## Format everything, and mend what ruff can mend
	cargo fmt --all
	$(BIN)/ruff check --quiet --fix-only
	$(BIN)/ruff format --quiet

# ---- to look at -----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(STAMPS)/wheel ## Three processes, real text, a killed leader, a snapshot, compared with a count made without Raft
	$(PYTHON_RUN) -m d_engine.demo $(DEMO_ARGS)

.PHONY: bench
bench: $(STAMPS)/wheel $(STAMPS)/bench ## Side by side with PySyncObj and with the floor of this machine; BENCH_ARGS=... chooses
	$(BIN)/python benches/compare.py $(BENCH_ARGS)

.PHONY: bench-core
bench-core: $(STAMPS)/wheel $(STAMPS)/bench ## The cores alone, in memory, beside raft-rs; BENCH_ARGS=... chooses
	cd benches && $(abspath $(BIN)/python) -m core.compare $(BENCH_ARGS)

.PHONY: docs
docs: $(STAMPS)/wheel $(STAMPS)/docs ## Build the site into build/docs; it loads nothing from anywhere else
	$(PYTHON_RUN) -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo build/docs/index.html

# ---- upkeep ---------------------------------------------------------------------------------------------------------

COMPILE = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --upgrade \
	--custom-compile-command "make lock"

.PHONY: lock
lock: $(STAMPS)/lock ## Renew requirements/*.txt from the dependency groups of pyproject.toml
	$(COMPILE) --group pyproject.toml:test --output-file requirements/test.txt
	@for group in build lint docs bench coverage lock; do \
		echo "$$group" && $(COMPILE) --constraints requirements/test.txt \
			--group pyproject.toml:$$group --output-file requirements/$$group.txt || exit 1; \
	done

.PHONY: clean
clean: ## Remove everything that was built, the environment too
	rm -rf $(VENV) build dist target python/d_engine/_core*.so
