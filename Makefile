# Every target first creates .venv and installs the project there, unless that is done already.

PYTHON ?= python3
ARGS ?=
# Notebooks run at the same time, where there is memory for them: small figures use few cores well.
JOBS ?= 2
BIN := .venv/bin
READY := .venv/.ready

# What `make verify` looks at, unless ARGS says otherwise.
QUICK := quick-vgg19-mini
REFERENCE := $(if $(wildcard figures/$(QUICK)),--reference figures/$(QUICK))

.PHONY: help figures verify gallery book test test-whole lint lab clean

help:
	@echo "make figures   regenerate the figures into build/  (ARGS='--profile smoke' for a quick look)"
	@echo "make verify    check build/$(QUICK) against the paper's claims  (ARGS='FOLDER' for another)"
	@echo "make gallery   make anew what is committed: figures/ and the notebooks' outputs; takes an hour or two,"
	@echo "               goes on where it was interrupted  (ARGS='--size 384' for smaller pictures)"
	@echo "make book      the notebooks as a website, with the outputs they were committed with: build/book/"
	@echo "make lab       open a copy of the notebooks in JupyterLab: lab/, yours to change"
	@echo "make test      check the style of the code, then run the unit tests  (ARGS='-k cli' for some)"
	@echo "make test-whole  execute every notebook in small, build the book, drive a browser, start a cluster"
	@echo "make lint      check the style of the code, and that its imports run one way"
	@echo "make clean     remove .venv and build/"
	@echo
	@echo "PYTHON=python3.12 make ... picks the interpreter that .venv is made with (3.11 or later)."

figures: $(READY)
	$(BIN)/stylelab figures --jobs $(JOBS) $(ARGS)

verify: $(READY)
	$(BIN)/stylelab verify $(or $(ARGS),build/$(QUICK) $(REFERENCE))

gallery: $(READY)
	$(BIN)/stylelab figures --jobs $(JOBS) --profile paper --network vgg19-mini --steps 300 $(ARGS)
	$(BIN)/stylelab figures --jobs $(JOBS)
	$(BIN)/python tools/gallery.py
	$(BIN)/stylelab lecture build/paper-vgg19-mini figures/lecture.html --quality 75
	$(BIN)/python tools/film.py

# -W: a link that leads nowhere is an error.
book: $(READY)
	$(BIN)/sphinx-build -q -W --keep-going -c book . build/book $(ARGS)
	@echo "build/book/index.html"

test: lint
	$(BIN)/python -m pytest -m "not whole" $(ARGS)

test-whole: $(READY)
	$(BIN)/python -m pytest -m whole $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

lab: $(READY)
	$(BIN)/python tools/lab.py
	$(BIN)/jupyter lab lab $(ARGS)

clean:
	rm -rf .venv build

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "$(PYTHON) was not found; install Python 3.11 or later, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); stylelab needs Python 3.11 or later: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments; install its venv package, such as python3-venv" >&2; exit 1; }
	@echo "Installing into .venv, once. PyTorch is large: this may take some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@
