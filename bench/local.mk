# Benchmarks: built and run by "make bench [BENCH=pattern]" only.
bench_programs = bench/bench-core bench/bench-echo bench/bench-share
EXTRA_PROGRAMS += $(bench_programs)
bench_bench_core_SOURCES = bench/bench-core.c bench/peers/harness.h
bench_bench_core_LDADD = libsockref.la
bench_bench_echo_SOURCES = bench/bench-echo.c
bench_bench_echo_LDADD = libsockref.la
bench_bench_share_SOURCES = bench/bench-share.c bench/peers/harness.h
bench_bench_share_LDADD = libsockref.la
EXTRA_DIST += bench/run bench/peers bench/servers
BENCH =

bench: all $(bench_programs)
	@CC='$(CC)' SOCKREF_GUARD="$$PWD/src/guard/sockref-guard" $(srcdir)/bench/run . '$(BENCH)'
.PHONY: bench
