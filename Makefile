# The commands of this project; each does its own set-up.

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
programs := ca-core ca-registrar ca-ocsp-bridge ca-ctl
release := .build/release

.PHONY: run test crash build install deb bench clean man fuzz sanitize

run: build
	@exec scripts/run

build:
	@scripts/setup build
	$(SWIFT) build -c release

# One build for everything; the fuzzers, 10 s each, beside the tests; the runner's own closing lines come last.
test:
	@scripts/setup test
	$(SWIFT) build -c release --build-tests
	@scripts/run-tests $(SWIFT)

# Kills programs of a CA under load with -9, N times, and counts what is left: make crash N=200 SEED=1; see docs/RELIABILITY.md.
N ?= 100
crash:
	@scripts/setup test
	$(SWIFT) build -c release --build-tests
	UPKI_CRASH_ROUNDS=$(N) $(if $(SEED),UPKI_CRASH_SEED=$(SEED)) $(SWIFT) test -c release --skip-build --filter 'CrashTests/rounds'

# Manual pages, from what the programs say of their own commands: .build/man/man1, man7 and man8.
man: build
	@scripts/manual $(release)

install: build man
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/man/man1" \
		"$(DESTDIR)$(PREFIX)/share/man/man7" "$(DESTDIR)$(PREFIX)/share/man/man8"
	install -m 0644 .build/man/man1/*.1 "$(DESTDIR)$(PREFIX)/share/man/man1/"
	install -m 0644 .build/man/man7/*.7 "$(DESTDIR)$(PREFIX)/share/man/man7/"
	install -m 0644 .build/man/man8/*.8 "$(DESTDIR)$(PREFIX)/share/man/man8/"
	install -m 0755 $(addprefix $(release)/,$(programs)) "$(DESTDIR)$(PREFIX)/bin/"

# The Debian package: .build/deb/upki-ca_VERSION_amd64.deb, with the runtime libraries that Debian does not have; see docs/DEPLOY.md.
deb: build
	@scripts/setup deb
	@scripts/deb

# Measures a CA of its own in a temporary directory; see docs/PERFORMANCE.md.
bench: build
	@scripts/setup bench
	$(SWIFT) build -c release --package-path Benchmarks
	Benchmarks/.build/release/bench --programs $(release)

# make fuzz SECONDS=600 TARGET="csr names": longer than `make test` does, one target or all.
SECONDS ?= 600
TARGET ?=
fuzz:
	@scripts/setup build
	@scripts/fuzz $(SECONDS) $(TARGET)

# The unit tests under ThreadSanitizer and AddressSanitizer; two builds of their own, about half an hour.
sanitize:
	@scripts/setup test
	@scripts/sanitize

clean:
	rm -rf .build .build-asan .build-tsan Benchmarks/.build Fuzzing/.build
