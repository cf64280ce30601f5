# The Spin model of the protocol between processes: run by "make model [MODEL=pattern]" only.
EXTRA_DIST += models/name.pml models/run
MODEL =

model:
	@CC='$(CC)' $(top_srcdir)/models/run build/model '$(MODEL)'
.PHONY: model
