# The commands of this project; each does its own set-up.

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
programs := ca-core ca-registrar ca-ctl
release := .build/release

.PHONY: run test build install bench clean

run: build
	@exec scripts/run

build:
	@scripts/setup build
	$(SWIFT) build -c release

# One build for everything; the runner's own closing lines come last.
test:
	@scripts/setup test
	$(SWIFT) build -c release --build-tests
	$(SWIFT) test -c release --skip-build

install: build
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 0755 $(addprefix $(release)/,$(programs)) "$(DESTDIR)$(PREFIX)/bin/"

# Measures a CA of its own in a temporary directory; see docs/PERFORMANCE.md.
bench: build
	$(SWIFT) build -c release --package-path Benchmarks
	Benchmarks/.build/release/bench --programs $(release)

clean:
	rm -rf .build Benchmarks/.build
