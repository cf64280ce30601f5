# Examples: the same ones in each language. Built with everything, run by scripts/demo, installed as documentation.
noinst_PROGRAMS += examples/dial examples/echo examples/metrics examples/pool examples/share
examples_dial_LDADD = libsockref.la
examples_echo_LDADD = libsockref.la
examples_metrics_LDADD = libsockref.la
examples_pool_LDADD = libsockref.la
examples_share_LDADD = libsockref.la

exampledir = $(docdir)/examples
dist_example_DATA = \
	examples/Echo.java \
	examples/Share.java \
	examples/dial.c \
	examples/echo.c \
	examples/echo.js \
	examples/echo.py \
	examples/metrics.c \
	examples/pool.c \
	examples/share.c \
	examples/share.js \
	examples/share.py

# Built by its own Makefile, as that of a program elsewhere: tests/front-ends/run does so.
examplecoredir = $(exampledir)/native-core
dist_examplecore_DATA = \
	examples/native-core/Front.java \
	examples/native-core/Makefile \
	examples/native-core/core.c \
	examples/native-core/core.h \
	examples/native-core/core.i \
	examples/native-core/front.js \
	examples/native-core/front.py
