# make bench    the study, and its figures:   make bench ARGS="--tasks 1,10k --sleep 1"
# make test     the tests:                    make test ARGS="-k tree"
# make test-all those that take long as well
# make check    style, types and every C file's warnings, in under a minute
# make fuzz     stored files that lie, for long: make fuzz EXAMPLES=100000
# make performance   the documentation's figures about cost, measured anew:   make performance NAMES="cost spikes"
# make known-table   the documentation's table of known programs, measured anew:   make known-table ARGS="--runs 20"
# All need a checkout, Python 3.10 or later and a C compiler; all else they get, into $(VENV) and the cache folder.

PYTHON ?= python3
VENV ?= .venv
# What is installed: this checkout, or a wheel.
INSTALL ?= .
# Whether make bench gets the languages' toolchains: yes, no, or ask (without a terminal: yes).
INSTALL_TOOLCHAINS ?= ask
ARGS ?=
# How long the tests take at most on two CPUs: one after the other.
MINUTES := 19

venv := $(abspath $(VENV))
sources := pyproject.toml setup.py $(wildcard csrc/* csrc/*/*)

.PHONY: bench test test-all check fuzz known-table performance clean

bench: $(venv)/.installed-report
	$(venv)/bin/concmem bench --install-toolchains $(INSTALL_TOOLCHAINS) $(ARGS)

# From inside tests/, so that it is the installed concmem that is tested and never ./concmem. Side by side: pytest-xdist's
# -n auto has two workers for each CPU here (tests/suite.py); ARGS="-n 0" runs one by one.
pytest := cd tests && $(venv)/bin/pytest -n auto --dist loadgroup

test: say-how-long $(venv)/.installed-report,test
	$(pytest) $(ARGS)

test-all: say-how-long $(venv)/.installed-report,test
	$(pytest) --long $(ARGS)

.PHONY: say-how-long
say-how-long:
	@echo "The tests take at most $(MINUTES) minutes on two idle CPUs, and a minute or two more to install what they need."

c_files := $(wildcard csrc/*.h csrc/*/*.[ch])

check: $(venv)/.installed-report,test
	$(venv)/bin/ruff check .
	$(venv)/bin/ruff format --check .
	$(venv)/bin/mypy --strict concmem
	$(venv)/bin/clang-format --dry-run -Werror $(c_files)
	for file in $(filter %.c,$(c_files)); do $(CC) -fsyntax-only -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Icsrc $$file || exit 1; done

EXAMPLES ?= 20000
fuzz: $(venv)/.installed-report,test
	cd tests && CONCMEM_FUZZ_EXAMPLES=$(EXAMPLES) $(venv)/bin/pytest -q test_stored_files.py -k read_or_refused $(ARGS)

known-table: $(venv)/.installed-report
	$(venv)/bin/python scripts/known_table.py $(ARGS)

performance: $(venv)/.installed-report
	$(venv)/bin/python scripts/performance.py $(NAMES)

$(venv)/.installed-%: $(sources)
	$(PYTHON) scripts/make_venv.py $(venv) --extras $* --install $(INSTALL)
	@touch $@

clean:
	rm -rf $(venv) build *.egg-info concmem/*.so concmem/concmem-sampler
