# The library. Its objects are a convenience library of their own, so that a unit test can link them
# directly: it reaches what is hidden, and replaces the table of system calls.
noinst_LTLIBRARIES += libsockref_internal.la
# Static or not, what is linked with it is position independent: one object of each source is enough.
libsockref_internal_la_LIBTOOLFLAGS = --tag=disable-static
libsockref_internal_la_SOURCES = \
	src/base/attr.h \
	src/base/clock.c \
	src/base/clock.h \
	src/base/errno_name.c \
	src/base/errno_name.h \
	src/base/error.c \
	src/base/error.h \
	src/base/fd.c \
	src/base/fd.h \
	src/base/hash.c \
	src/base/hash.h \
	src/base/list.h \
	src/base/log.c \
	src/base/log.h \
	src/base/map.c \
	src/base/map.h \
	src/base/mutex.c \
	src/base/mutex.h \
	src/base/random.c \
	src/base/random.h \
	src/base/spawn.c \
	src/base/spawn.h \
	src/base/status.c \
	src/base/sys.c \
	src/base/sys.h \
	src/base/tally.c \
	src/base/tally.h \
	src/base/thread.c \
	src/base/thread.h \
	src/base/utf8.c \
	src/base/utf8.h \
	src/base/version.c \
	src/name/bound.c \
	src/name/bound.h \
	src/name/control.c \
	src/name/control.h \
	src/name/guard.c \
	src/name/guard.h \
	src/name/guard_program.c \
	src/name/guard_program.h \
	src/name/guard_wire.h \
	src/name/handover.c \
	src/name/inspect.c \
	src/name/inspect.h \
	src/name/join.c \
	src/name/listing.c \
	src/name/listing.h \
	src/name/lockfile.c \
	src/name/lockfile.h \
	src/name/mend.c \
	src/name/mend.h \
	src/name/path.c \
	src/name/path.h \
	src/name/place.c \
	src/name/place.h \
	src/name/probe.c \
	src/name/probe.h \
	src/name/record.c \
	src/name/record.h \
	src/name/recover.c \
	src/name/recover.h \
	src/name/share.c \
	src/name/share.h \
	src/name/sockfile.c \
	src/name/sockfile.h \
	src/name/sockname.c \
	src/name/sockname.h \
	src/name/start.c \
	src/name/sweep.c \
	src/name/sweep.h \
	src/name/tcp.c \
	src/name/tcp.h \
	src/name/tcpsock.c \
	src/name/tcpsock.h \
	src/name/try.h \
	src/net/accept.c \
	src/net/accept.h \
	src/net/address.c \
	src/net/address.h \
	src/net/backend.h \
	src/net/backend_epoll.c \
	src/net/backend_poll.c \
	src/net/bound.c \
	src/net/bound.h \
	src/net/conn.c \
	src/net/conn.h \
	src/net/conn_info.c \
	src/net/conn_options.c \
	src/net/conn_read.c \
	src/net/conn_state.h \
	src/net/conn_turn.c \
	src/net/conn_write.c \
	src/net/connect.c \
	src/net/connect.h \
	src/net/count.c \
	src/net/count.h \
	src/net/dial.c \
	src/net/dial.h \
	src/net/echo.c \
	src/net/fdwatch.c \
	src/net/fdwatch.h \
	src/net/handlers.c \
	src/net/handlers.h \
	src/net/health.c \
	src/net/hooks.c \
	src/net/kept.c \
	src/net/kept.h \
	src/net/listener.c \
	src/net/listener.h \
	src/net/loop.c \
	src/net/loop.h \
	src/net/metrics.c \
	src/net/outbuf.c \
	src/net/outbuf.h \
	src/net/post.c \
	src/net/reactor.c \
	src/net/resolve.c \
	src/net/resolve.h \
	src/net/serve.c \
	src/net/serve.h \
	src/net/service.c \
	src/net/service.h \
	src/net/solo.c \
	src/net/solo.h \
	src/net/start.c \
	src/net/start.h \
	src/net/timer.c \
	src/net/timer.h \
	src/net/traffic.c \
	src/net/traffic.h \
	src/ref/attempt.h \
	src/ref/birth.c \
	src/ref/cleanup.c \
	src/ref/cleanup.h \
	src/ref/ending.c \
	src/ref/entry.h \
	src/ref/exit.c \
	src/ref/fate.c \
	src/ref/fdwatch.h \
	src/ref/fork.c \
	src/ref/fork.h \
	src/ref/hooks.h \
	src/ref/joint.c \
	src/ref/life.c \
	src/ref/life.h \
	src/ref/listen.c \
	src/ref/lookup.c \
	src/ref/names.c \
	src/ref/options.c \
	src/ref/options.h \
	src/ref/pool.c \
	src/ref/registry.c \
	src/ref/registry.h \
	src/ref/remove.c \
	src/ref/remove.h \
	src/ref/revoke.c \
	src/ref/service.c \
	src/ref/slab.c \
	src/ref/slab.h \
	src/ref/sockref.c \
	src/ref/state.h \
	src/ref/stats.c \
	src/ref/stats.h \
	src/ref/table.c \
	src/ref/table.h \
	src/ref/watch.c

lib_LTLIBRARIES += libsockref.la
libsockref_la_SOURCES =
libsockref_la_LIBADD = libsockref_internal.la
libsockref_la_DEPENDENCIES = libsockref_internal.la src/libsockref.map
libsockref_la_LDFLAGS = $(AM_LDFLAGS) -version-info $(SOCKREF_VERSION_INFO) -no-undefined \
	-Wl,--version-script=$(top_srcdir)/src/libsockref.map \
	-Wl,-z,relro -Wl,-z,now -Wl,-z,nodelete
EXTRA_DIST += src/libsockref.map

# The helper that cleans up after a process that was killed. It is static where that can be had: small, and
# no matter which libraries the host finds.
AM_CPPFLAGS += -DSR_PKGLIBEXECDIR='"$(pkglibexecdir)"'
sockref_guard = src/guard/sockref-guard$(EXEEXT)
pkglibexec_PROGRAMS = src/guard/sockref-guard
src_guard_sockref_guard_SOURCES = \
	src/guard/clean.c \
	src/guard/clean.h \
	src/guard/keep.c \
	src/guard/keep.h \
	src/guard/main.c \
	src/guard/watched.c \
	src/guard/watched.h
src_guard_sockref_guard_LDADD = libsockref_internal.la
src_guard_sockref_guard_LDFLAGS = $(AM_LDFLAGS) $(GUARD_LDFLAGS)

# The command for people and scripts. It has its own copy of the code, as the guard has.
sockref_command = src/cli/sockref$(EXEEXT)
bin_PROGRAMS = src/cli/sockref
src_cli_sockref_SOURCES = \
	src/cli/main.c \
	src/cli/report.c \
	src/cli/report.h \
	src/cli/text.c \
	src/cli/text.h
src_cli_sockref_LDADD = libsockref_internal.la
