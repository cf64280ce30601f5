/*
 * Names as text. Paths are bytes: most are UTF-8, none need be. In JSON a byte that is none is a
 * lone surrogate, as Python's os.fsdecode() has it, so that os.fsencode() gives the bytes back.
 */
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

/* How many bytes the character at a text has; 0: it is no UTF-8. */
static size_t character_length(const unsigned char *at)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80             ? 1
                    : (at[0] & 0xe0) == 0xc0 ? 2
                    : (at[0] & 0xf0) == 0xe0 ? 3
                    : (at[0] & 0xf8) == 0xf0 ? 4
                                             : 0;
    unsigned code = at[0] & (length > 1 ? 0xffu >> (length + 1) : 0x7f);

    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if (length > 1 &&
        (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
        return 0;
    return length;
}

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
        size_t length = character_length(at);

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
        size_t length = character_length(at);

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
