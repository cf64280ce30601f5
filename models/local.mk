# The Spin model of the protocol between processes: run by "make model [MODEL=pattern] [SIZE=full]" only.
EXTRA_DIST += models/name.pml models/run
MODEL =
SIZE = ci

model:
	@CC='$(CC)' SIZE='$(SIZE)' $(top_srcdir)/models/run build/model '$(MODEL)'
.PHONY: model
