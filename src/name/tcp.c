/*
 * The spelling of TCP names.
 *
 * A name to listen on has a numeric host, so that it means the same socket each time; an IPv6
 * address stands in brackets, which keeps its colons from the port's. Of the spellings of one
 * address one is canonical, and that is the key of the name. A zone stays as it is written: which
 * interface has which number is the system's, and may change.
 */
#include "name/tcp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Returns whether the text is a port. */
static bool read_port(const char *text, uint16_t *out_port)
{
    unsigned value = 0;

    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
        if (value > UINT16_MAX)
            return false;
    }
    *out_port = (uint16_t)value;
    return true;
}

static const char *split_brackets(const char *host, struct sr_tcp_parts *parts)
{
    const char *end = strchr(host, ']');

    if (!end || end[1] != ':')
        return "an IPv6 address in brackets is followed by a colon and a port";
    parts->host = host + 1;
    parts->host_length = (size_t)(end - host - 1);
    parts->is_bracketed = true;
    return read_port(end + 2, &parts->port) ? NULL : "the port must be from 0 to 65535";
}

const char *sr_tcp_split(const char *name, struct sr_tcp_parts *out_parts)
{
    const char *host = name + sizeof SR_TCP_PREFIX - 1, *colon = strrchr(host, ':');
    struct sr_tcp_parts parts = {0};
    const char *fault = NULL;

    if (host[0] == '[') {
        fault = split_brackets(host, &parts);
    } else if (!colon) {
        fault = "a TCP name is tcp:HOST:PORT, and this one has no port";
    } else {
        parts.host = host;
        parts.host_length = (size_t)(colon - host);
        if (memchr(host, ':', parts.host_length))
            fault = "an IPv6 address must stand in brackets";
        else if (!read_port(colon + 1, &parts.port))
            fault = "the port must be from 0 to 65535";
    }
    if (!fault && parts.host_length > SR_TCP_HOST_MAX)
        fault = "a host may have at most 253 bytes";
    for (size_t i = 0; !fault && i < parts.host_length; i++)
        if ((unsigned char)parts.host[i] <= ' ' || parts.host[i] == 0x7f)
            fault = "a space or control byte in a host";
    if (!fault)
        *out_parts = parts;
    return fault;
}

static bool read_v6(const char *text, struct sr_tcp *tcp)
{
    const char *zone = strchr(text, '%');
    size_t length = zone ? (size_t)(zone - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];

    if (length >= sizeof address)
        return false;
    if (zone && (zone[1] == '\0' || strlen(zone + 1) >= sizeof tcp->zone))
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (inet_pton(AF_INET6, address, &tcp->address.v6) != 1)
        return false;
    tcp->family = AF_INET6;
    if (zone)
        strcpy(tcp->zone, zone + 1);
    return true;
}

bool sr_tcp_read_host(const char *host, size_t length, struct sr_tcp *out_tcp)
{
    char text[INET6_ADDRSTRLEN + SR_TCP_ZONE_MAX];

    memset(out_tcp, 0, sizeof *out_tcp);
    if (length == 0 || length >= sizeof text || memchr(host, '\0', length))
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    if (inet_pton(AF_INET, text, &out_tcp->address.v4) == 1) {
        out_tcp->family = AF_INET;
        return true;
    }
    return read_v6(text, out_tcp);
}

static bool is_localhost(const struct sr_tcp_parts *parts)
{
    static const char localhost[] = "localhost";

    return parts->host_length == sizeof localhost - 1 &&
           strncasecmp(parts->host, localhost, sizeof localhost - 1) == 0;
}

const char *sr_tcp_parse(const char *name, struct sr_tcp *out_tcp)
{
    struct sr_tcp_parts parts;
    struct sr_tcp tcp = {0};
    const char *fault = sr_tcp_split(name, &parts);

    if (fault)
        return fault;
    if (!parts.is_bracketed && parts.host_length == 0) {
        tcp.family = AF_UNSPEC;
    } else if (!parts.is_bracketed && is_localhost(&parts)) {
        tcp.family = AF_INET;
        tcp.address.v4.s_addr = htonl(INADDR_LOOPBACK);
    } else if (!sr_tcp_read_host(parts.host, parts.host_length, &tcp) ||
               (tcp.family == AF_INET6) != parts.is_bracketed) {
        return parts.is_bracketed
                   ? "what stands in brackets is no IPv6 address"
                   : "the host of a name to listen on is a numeric address, localhost, or nothing";
    }
    tcp.port = parts.port;
    *out_tcp = tcp;
    return NULL;
}

bool sr_tcp_draws_port(const char *name)
{
    struct sr_tcp tcp;

    return sr_tcp_is_name(name) && !sr_tcp_parse(name, &tcp) && tcp.port == 0;
}

size_t sr_tcp_format(const struct sr_tcp *tcp, char out[SR_TCP_NAME_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    int length;

    if (tcp->family != AF_UNSPEC)
        inet_ntop(tcp->family, &tcp->address, host, sizeof host);
    if (tcp->family == AF_INET6)
        length = snprintf(out, SR_TCP_NAME_MAX, SR_TCP_PREFIX "[%s%s%s]:%u", host,
                          tcp->zone[0] ? "%" : "", tcp->zone, (unsigned)tcp->port);
    else
        length = snprintf(out, SR_TCP_NAME_MAX, SR_TCP_PREFIX "%s:%u", host, (unsigned)tcp->port);
    return (size_t)length;
}
