/*
 * Names as text. Paths are bytes: most are UTF-8, none need be. In JSON a byte that is none is a
 * lone surrogate, as Python's os.fsdecode() has it, so that os.fsencode() gives the bytes back.
 */
#include "cli/text.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Terminals obey those of two bytes as well, U+0080 to U+009F. */
static int is_control(const unsigned char *at)
{
    return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0);
}

char *sr_text_plain(const char *bytes)
{
    const unsigned char *at = (const unsigned char *)bytes;
    char *text = malloc(4 * strlen(bytes) + 1), *to = text;

    if (!text)
        return NULL;
    while (*at) {
        size_t length = sr_utf8_length((const char *)at);

        if (length > 0 && !is_control(at) && *at != '\\') {
            memcpy(to, at, length);
            to += length;
            at += length;
        } else if (*at == '\\') {
            to += sprintf(to, "\\\\");
            at++;
        } else {
            for (size_t i = 0; i < (length ? length : 1); i++)
                to += sprintf(to, "\\%03o", *at++);
        }
    }
    *to = '\0';
    return text;
}

size_t sr_text_width(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void sr_text_json(FILE *out, const char *bytes)
{
    const unsigned char *at = (const unsigned char *)bytes;

    putc('"', out);
    while (*at) {
        size_t length = sr_utf8_length((const char *)at);

        if (length == 0)
            fprintf(out, "\\udc%02x", *at++);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at++);
        else if (length == 1 && is_control(at))
            fprintf(out, "\\u%04x", *at++);
        else
            for (; length > 0; length--)
                putc(*at++, out);
    }
    putc('"', out);
}
