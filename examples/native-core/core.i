/* The core for Python, Node and Java. */
%module core
%{
#include "core.h"
%}
%include "core.h"
