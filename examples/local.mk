# Examples: the same one in each language. Built with everything, run by scripts/demo, installed as documentation.
noinst_PROGRAMS += examples/echo
examples_echo_LDADD = libsockref.la

exampledir = $(docdir)/examples
dist_example_DATA = \
	examples/Echo.java \
	examples/echo.c \
	examples/echo.py \
	examples/echo.js
