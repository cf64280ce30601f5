# One program for each suite. tests/check-lists fails if a suite in the tree is not listed here.
# Neither a loop nor a second thread.
single_suites = \
	tests/unit/test-address \
	tests/unit/test-bound \
	tests/unit/test-hash \
	tests/unit/test-keep \
	tests/unit/test-list \
	tests/unit/test-path \
	tests/unit/test-place \
	tests/unit/test-record \
	tests/unit/test-share \
	tests/unit/test-slab \
	tests/unit/test-status \
	tests/unit/test-tcp-spelling
# No loop.
threads_suites = \
	tests/unit/test-cancel \
	tests/unit/test-cleanup \
	tests/unit/test-error \
	tests/unit/test-exit \
	tests/unit/test-fd \
	tests/unit/test-guard \
	tests/unit/test-guard-failures \
	tests/unit/test-guard-life \
	tests/unit/test-guard-rights \
	tests/unit/test-inspect \
	tests/unit/test-log \
	tests/unit/test-lookup \
	tests/unit/test-options \
	tests/unit/test-pool \
	tests/unit/test-pool-pick \
	tests/unit/test-race \
	tests/unit/test-registry \
	tests/unit/test-remove \
	tests/unit/test-sockfile \
	tests/unit/test-sockfile-adopt \
	tests/unit/test-sockfile-remove \
	tests/unit/test-sweep \
	tests/unit/test-table
loop_suites = \
	tests/unit/test-adopt \
	tests/unit/test-bind-only \
	tests/unit/test-conn \
	tests/unit/test-conn-destroy \
	tests/unit/test-conn-faults \
	tests/unit/test-conn-options \
	tests/unit/test-conn-pairs \
	tests/unit/test-conn-script \
	tests/unit/test-conn-write \
	tests/unit/test-connect \
	tests/unit/test-connect-arguments \
	tests/unit/test-connect-attempts \
	tests/unit/test-connect-cancel \
	tests/unit/test-descriptor \
	tests/unit/test-fdwatch \
	tests/unit/test-fdwatch-failures \
	tests/unit/test-fdwatch-fork \
	tests/unit/test-fork \
	tests/unit/test-guard-answer \
	tests/unit/test-health \
	tests/unit/test-heir \
	tests/unit/test-joint \
	tests/unit/test-kept \
	tests/unit/test-listen \
	tests/unit/test-listener \
	tests/unit/test-loop \
	tests/unit/test-metrics \
	tests/unit/test-net-script \
	tests/unit/test-post \
	tests/unit/test-reactor \
	tests/unit/test-refused \
	tests/unit/test-register \
	tests/unit/test-resolve \
	tests/unit/test-serve \
	tests/unit/test-service \
	tests/unit/test-start \
	tests/unit/test-stats \
	tests/unit/test-tcp \
	tests/unit/test-timeout \
	tests/unit/test-timer \
	tests/unit/test-traffic \
	tests/unit/test-unserve \
	tests/unit/test-watch \
	tests/unit/test-written
unit_suites = $(single_suites) $(threads_suites) $(loop_suites)
integration_suites = \
	tests/integration/test-command \
	tests/integration/test-decisions \
	tests/integration/test-defects-calls \
	tests/integration/test-defects-connections \
	tests/integration/test-defects-names \
	tests/integration/test-defects-processes \
	tests/integration/test-disk \
	tests/integration/test-handover \
	tests/integration/test-hostile \
	tests/integration/test-lifecycle-closing \
	tests/integration/test-lifecycle-connections \
	tests/integration/test-lifecycle-ends \
	tests/integration/test-lifecycle-errors \
	tests/integration/test-lifecycle-names \
	tests/integration/test-lifecycle-processes \
	tests/integration/test-lifecycle-serve \
	tests/integration/test-lifecycle-sharing \
	tests/integration/test-lifecycle-threads \
	tests/integration/test-pools \
	tests/integration/test-stress \
	tests/integration/test-system \
	tests/integration/test-trace \
	tests/integration/test-zombie
test_headers = \
	tests/harness/clone.h \
	tests/harness/faults.h \
	tests/harness/harness.h \
	tests/harness/sanitized.h \
	tests/harness/wait.h \
	tests/integration/case.h \
	tests/integration/crew.h \
	tests/integration/files.h \
	tests/integration/holder.h \
	tests/integration/interpose.h \
	tests/integration/plain-sockets.h \
	tests/integration/roles.h \
	tests/integration/sides.h \
	tests/integration/starts.h \
	tests/integration/util.h \
	tests/integration/waiting.h \
	tests/unit/conn-model.h \
	tests/unit/counted-sends.h \
	tests/unit/fault-scenarios.h \
	tests/unit/fuzz.h \
	tests/unit/net-records.h \
	tests/unit/test-accepted-helpers.h \
	tests/unit/test-conn-helpers.h \
	tests/unit/test-connect-helpers.h \
	tests/unit/test-fdwatch-helpers.h \
	tests/unit/test-guard-helpers.h \
	tests/unit/test-loop-helpers.h \
	tests/unit/test-pool-helpers.h \
	tests/unit/test-resolver-script.h \
	tests/unit/test-sockfile-helpers.h \
	tests/unit/test-stats-helpers.h \
	tests/unit/test-tcp-helpers.h
# Long ones that have no loop; they begin first, beside all others.
long_unit_suites = tests/unit/test-faults
long_integration_suites = tests/integration/test-foreign
# What a sanitizer for threads has to see; processes of one thread, and calls that fail one by one, are nothing new to it.
concurrent_integration_suites = \
	tests/integration/test-decisions \
	tests/integration/test-defects-calls \
	tests/integration/test-defects-connections \
	tests/integration/test-handover \
	tests/integration/test-hostile \
	tests/integration/test-lifecycle-connections \
	tests/integration/test-lifecycle-serve \
	tests/integration/test-lifecycle-sharing \
	tests/integration/test-lifecycle-threads \
	tests/integration/test-pools \
	tests/integration/test-stress
concurrent_suites = $(concurrent_integration_suites) $(threads_suites) $(loop_suites)
c_suites = $(long_unit_suites) $(long_integration_suites) $(integration_suites) $(unit_suites)

# Each suite with a loop runs a second time with poll in place of epoll.
poll_suites = $(loop_suites:=-poll) $(integration_suites:=-poll)
# Where a thread of the backend can be at odds with others.
poll_suites_with_threads = \
	tests/unit/test-conn-destroy-poll \
	tests/unit/test-conn-poll \
	tests/unit/test-connect-cancel-poll \
	tests/unit/test-connect-poll \
	tests/unit/test-fdwatch-failures-poll \
	tests/unit/test-fdwatch-fork-poll \
	tests/unit/test-fdwatch-poll \
	tests/unit/test-joint-poll \
	tests/unit/test-kept-poll \
	tests/unit/test-listener-poll \
	tests/unit/test-loop-poll \
	tests/unit/test-net-script-poll \
	tests/unit/test-reactor-poll \
	tests/unit/test-resolve-poll \
	tests/unit/test-serve-poll \
	tests/unit/test-service-poll \
	tests/unit/test-start-poll \
	tests/unit/test-timer-poll

if HAVE_CHECK
check_LTLIBRARIES += tests/libharness.la
check_PROGRAMS += $(c_suites)
check_SCRIPTS += $(poll_suites)
TESTS += $(c_suites) $(poll_suites)
endif
AM_CPPFLAGS += $(CHECK_CFLAGS) -I$(top_srcdir)/tests
LDADD = tests/libharness.la libsockref_internal.la $(CHECK_LIBS)
# libtool would take longer to find out that these two are archives than the linker takes to link them.
$(unit_suites) $(long_unit_suites): LDADD = tests/.libs/libharness.a .libs/libsockref_internal.a $(CHECK_LIBS)
$(unit_suites) $(long_unit_suites): LINK = $(CCLD) $(AM_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) $(LDFLAGS) -o $@

# These use nothing but the public interface.
$(integration_suites) $(long_integration_suites): LDADD = libsockref.la $(CHECK_LIBS)
$(integration_suites) $(long_integration_suites): libsockref.la

# It runs the program as it was built.
command_suites = tests/integration/test-command
$(command_suites): $(sockref_command)

# Owner and joiner in two languages; tests/pairs/agent.c has the protocol.
check_PROGRAMS += tests/pairs/agent
tests_pairs_agent_LDADD = libsockref.la
pairs: all
	@$(MAKE) tests/pairs/agent
	SOCKREF_BUILD='$(abs_top_builddir)' python3 $(top_srcdir)/tests/pairs/run
# By itself: a virtual machine that compiles takes long, and longer where others do so as well.
build/pairs/Agent.class: $(top_srcdir)/tests/pairs/Agent.java build/dist/java/sockref.jar
	@$(MKDIR_P) build/pairs
	$(AM_V_GEN)javac $(java_brief:%=-J%) -cp build/dist/java/sockref.jar -d build/pairs $(top_srcdir)/tests/pairs/Agent.java
EXTRA_DIST += tests/agents.py tests/pairs/run tests/pairs/agent.js tests/pairs/agent.py tests/pairs/Agent.java

# Client and server in two languages; tests/exchange/agent.c tells what an agent does.
check_PROGRAMS += tests/exchange/agent
tests_exchange_agent_LDADD = libsockref.la
exchange: all
	@$(MAKE) tests/exchange/agent
	SOCKREF_BUILD='$(abs_top_builddir)' python3 $(top_srcdir)/tests/exchange/run
EXTRA_DIST += tests/exchange/run tests/exchange/agent.js tests/exchange/agent.py tests/exchange/Agent.java \
	tests/exchange/crc32.js

# A core of one's own beside the package of each language; tests/front-ends/run tells how.
front-ends: all
	SWIG='$(SWIG)' NODE='$(NODE)' NODE_MODULES='$(NODE_MODULES)' PYTHON='$(PYTHON)' \
	SOCKREF_BUILD='$(abs_top_builddir)' python3 $(top_srcdir)/tests/front-ends/run
EXTRA_DIST += tests/front-ends/run

# Processes of all languages at random, for some seconds; tests/soak/run tells what they do.
soak: all
	SOCKREF_BUILD='$(abs_top_builddir)' python3 $(top_srcdir)/tests/soak/run --seconds $(or $(SECONDS),60)
EXTRA_DIST += tests/soak/run

tests_unit_test_faults_SOURCES = tests/unit/test-faults.c tests/unit/fault-scenarios.c
tests_unit_test_conn_script_SOURCES = tests/unit/test-conn-script.c tests/unit/conn-calls.c \
	tests/unit/conn-model.c tests/unit/fuzz.c
tests_unit_test_net_script_SOURCES = tests/unit/test-net-script.c tests/unit/net-records.c tests/unit/fuzz.c

# Parts of the guard program.
tests_unit_test_keep_SOURCES = tests/unit/test-keep.c src/guard/keep.c src/guard/watched.c

# What the suites share.
tests_libharness_la_LIBTOOLFLAGS = --tag=disable-static
tests_libharness_la_SOURCES = tests/harness/closing.c tests/harness/faults.c tests/harness/harness.c tests/harness/wait.c

$(poll_suites): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && rm -f $@ && { echo '#!/bin/sh'; \
	echo 'SOCKREF_TEST_BACKEND=poll exec "$${0%-poll}" "$$@"'; } > $@ && chmod +x $@
CLEANFILES += $(poll_suites)

dist_check_SCRIPTS += tests/check-bindings tests/check-headers tests/check-jni tests/check-lifecycle tests/check-lists \
	tests/check-requirements tests/check-symbols tests/check-version
TESTS += tests/check-bindings tests/check-headers tests/check-jni tests/check-lifecycle tests/check-lists \
	tests/check-requirements tests/check-symbols tests/check-version
EXTRA_DIST += $(test_headers) tests/check-api tests/check-api.exceptions tests/check-docs

# Time-outs are libcheck's; a sanitizer makes everything slower. Nothing of the user's leaks in.
if SANITIZE
timeout_multiplier = 5
else
timeout_multiplier = 1
endif
tested_guard = $(abs_top_builddir)/$(sockref_guard)
AM_TESTS_ENVIRONMENT = \
	unset SOCKREF_DIR XDG_RUNTIME_DIR; \
	SOCKREF_GUARD='$(tested_guard)'; export SOCKREF_GUARD; \
	CK_DEFAULT_TIMEOUT=$${CK_DEFAULT_TIMEOUT-30}; export CK_DEFAULT_TIMEOUT; \
	CK_TIMEOUT_MULTIPLIER=$${CK_TIMEOUT_MULTIPLIER-$(timeout_multiplier)}; export CK_TIMEOUT_MULTIPLIER; \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir; \
	built_bindings='$(built_bindings)'; export built_bindings; \
	CC='$(CC)'; export CC; CXX='$(CXX)'; export CXX; NM='$(NM)'; export NM;

# Those that are quick enough under valgrind, where cases that do something very often are left out.
valgrind_suites = \
	tests/unit/test-error \
	tests/unit/test-log \
	tests/unit/test-lookup \
	tests/unit/test-options \
	tests/unit/test-pool \
	tests/unit/test-registry \
	tests/unit/test-remove \
	tests/unit/test-service \
	tests/unit/test-start \
	tests/unit/test-sweep \
	tests/unit/test-watch \
	tests/integration/test-lifecycle-names

# Random scripts of connections, and of what they belong to, each for as long as one likes.
fuzz: tests/unit/test-conn-script tests/unit/test-net-script src/guard/sockref-guard$(EXEEXT)
	@$(AM_TESTS_ENVIRONMENT) FUZZ_SECONDS=$(or $(SECONDS),60); export FUZZ_SECONDS; \
	tests/unit/test-conn-script && tests/unit/test-net-script

# The suites alone, with one backend or the other.
check-epoll:
	$(MAKE) check TESTS='$(c_suites)'
check-poll:
	$(MAKE) check TESTS='$(poll_suites)'
check-api:
	$(top_srcdir)/tests/check-api $(top_srcdir)
valgrind:
	$(MAKE) check TESTS='$(valgrind_suites)' CK_TIMEOUT_MULTIPLIER=20 CK_EXCLUDE_TAGS=many \
		LOG_COMPILER='$(LIBTOOL) --mode=execute valgrind -q --error-exitcode=9 --leak-check=full \
			--errors-for-leak-kinds=definite --track-fds=no'

check-local:
if !HAVE_CHECK
	@echo 'make check: the C suites need libcheck >= 0.15; install it and configure again' >&2; exit 1
endif
.PHONY: check-epoll check-poll check-api exchange front-ends fuzz pairs soak valgrind
