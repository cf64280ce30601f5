# Crash points: processes that use the library are killed at them, by "make torture [KILLS=n]" only. All of it
# has a library of its own, in which a call can be told by where it is made: nothing of this is in the normal one.
torture_programs = tests/torture/torture tests/torture/torture-guard
EXTRA_PROGRAMS += $(torture_programs) tests/torture/torture-faults
CLEANFILES += $(torture_programs) tests/torture/torture-faults
EXTRA_LTLIBRARIES = tests/torture/libtorture.la tests/torture/agent/libsockref.la
torture_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
torture_cflags = $(AM_CFLAGS) -fno-inline -fno-omit-frame-pointer -fno-optimize-sibling-calls

tests_torture_libtorture_la_LIBTOOLFLAGS = --tag=disable-static
tests_torture_libtorture_la_SOURCES = $(libsockref_internal_la_SOURCES)
tests_torture_libtorture_la_CPPFLAGS = $(AM_CPPFLAGS) -DATTEND_MS=20
tests_torture_libtorture_la_CFLAGS = $(torture_cflags)

torture_points = tests/torture/ablate.c tests/torture/crash.c tests/torture/crash.h tests/torture/symbols.c \
	tests/torture/wrap.c
tests_torture_torture_SOURCES = $(torture_points) \
	tests/torture/arena.c tests/torture/arena.h \
	tests/torture/foreigner.c \
	tests/torture/hold.c tests/torture/hold.h \
	tests/torture/shepherd.c \
	tests/torture/tell.c tests/torture/tell.h \
	tests/torture/torture.c \
	tests/torture/worker.c tests/torture/worker.h
tests_torture_torture_CPPFLAGS = $(torture_cppflags)
tests_torture_torture_CFLAGS = $(torture_cflags)
tests_torture_torture_LDADD = tests/torture/libtorture.la

tests_torture_torture_guard_SOURCES = $(torture_points) $(src_guard_sockref_guard_SOURCES)
tests_torture_torture_guard_CPPFLAGS = $(torture_cppflags) -DTORTURE_GUARD
tests_torture_torture_guard_CFLAGS = $(torture_cflags)
tests_torture_torture_guard_LDADD = tests/torture/libtorture.la
tests_torture_torture_guard_LDFLAGS = $(AM_LDFLAGS) $(GUARD_LDFLAGS)

# For processes of other languages, in place of the library that their binding has.
tests_torture_agent_libsockref_la_LIBTOOLFLAGS = --tag=disable-static
tests_torture_agent_libsockref_la_SOURCES = $(torture_points)
tests_torture_agent_libsockref_la_CPPFLAGS = $(torture_cppflags) -DTORTURE_AGENT
tests_torture_agent_libsockref_la_CFLAGS = $(torture_cflags)
tests_torture_agent_libsockref_la_LIBADD = tests/torture/libtorture.la
tests_torture_agent_libsockref_la_LDFLAGS = $(libsockref_la_LDFLAGS) -rpath /nowhere

tests_torture_torture_faults_SOURCES = $(torture_points) tests/torture/faults.c tests/torture/faults.h tests/torture/faults-scenarios.c
tests_torture_torture_faults_CPPFLAGS = $(torture_cppflags)
tests_torture_torture_faults_CFLAGS = $(torture_cflags)
tests_torture_torture_faults_LDADD = tests/torture/libtorture.la

EXTRA_DIST += tests/torture/README.md tests/torture/ablations tests/torture/excuses tests/torture/places

# At -O1 the compiler leaves the functions as they are. Languages take part where they are built.
KILLS = 40000
build-torture:
	@$(MAKE) CFLAGS='-g -O1' $(torture_programs) tests/torture/agent/libsockref.la
torture: build-torture
	@TORTURE_AGENTS=; tree='SOCKREF_BUILD=$(abs_top_builddir) $(abs_top_srcdir)/scripts/in-tree'; \
	pairs='$(abs_top_srcdir)/tests/pairs'; \
	for binding in $(built_bindings); do case $$binding in \
		node) TORTURE_AGENTS="$$TORTURE_AGENTS$$tree node $$pairs/agent.js;" ;; \
		python) TORTURE_AGENTS="$$TORTURE_AGENTS$$tree python3 $$pairs/agent.py;" ;; \
		java) $(MAKE) build/pairs/Agent.class; \
			TORTURE_AGENTS="$$TORTURE_AGENTS$$tree java -Xshare:auto -XX:TieredStopAtLevel=1 Agent;"; \
			CLASSPATH='$(abs_top_builddir)/build/pairs'; export CLASSPATH ;; \
	esac; done; \
	$(MKDIR_P) build/torture; TORTURE_POINTS=build/torture/points TORTURE_EXCUSES=$(srcdir)/tests/torture/excuses \
	TORTURE_AGENTS=$$TORTURE_AGENTS TORTURE_LIBRARY=$$PWD/tests/torture/agent/.libs/libsockref.so.0 \
	MIN='$(MIN)' SEED='$(SEED)' ROUND='$(ROUND)' KIND='$(KIND)' DEADLINE='$(DEADLINE)' ABLATION= \
		tests/torture/torture '$(KILLS)' tests/torture/torture-guard
# Each safeguard is removed in turn; without it, the torture must fail.
torture-ablations: build-torture
	@$(srcdir)/tests/torture/ablations tests/torture/torture tests/torture/torture-guard '$(ABLATION)'
torture-faults: src/guard/sockref-guard
	@$(MAKE) CFLAGS='-g -O1' tests/torture/torture-faults
	@$(MKDIR_P) build/torture
	@SOCKREF_GUARD="$$PWD/src/guard/sockref-guard" TORTURE_POINTS=build/torture/faults tests/torture/torture-faults
# After these two: whether there is any system call of the protocol where nobody was killed, and no excuse for it.
torture-places:
	@$(srcdir)/tests/torture/places $(srcdir) $(srcdir)/tests/torture/excuses build/torture/points build/torture/faults
.PHONY: build-torture torture torture-ablations torture-faults torture-places
