/* Names as text: any bytes, written so that a line stays a line, and that they can be read back. */
#ifndef SR_CLI_TEXT_H
#define SR_CLI_TEXT_H

#include <stddef.h>
#include <stdio.h>

/*
 * For people and fields: control characters, the backslash, and bytes that are no UTF-8 as "\ooo".
 * Returns a malloc'ed text, or NULL.
 */
char *sr_text_plain(const char *bytes);
/* How many columns such a text takes, each of its characters one. */
size_t sr_text_width(const char *text);
/* A JSON string with its quotes; a byte that is no UTF-8 as "\udc80" to "\udcff". */
void sr_text_json(FILE *out, const char *bytes);

#endif
