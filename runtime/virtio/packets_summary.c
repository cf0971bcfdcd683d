// SPDX-License-Identifier: GPL-2.0-only
/*
 * A packet in one line, for people and for grep: much as tcpdump has it, so
 * addresses and ports are joined by a point. What is cut off or nonsense ends
 * the line early; nothing outside of the frame is looked at.
 */
#include "packets.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ETHER_HEADER 14
#define VLAN_TAGS_MAX 4
#define EXTENSIONS_MAX 8

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20

/* Options of TCP (IANA), and of MPTCP (RFC 8684, 8.2). */
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_WSCALE 3
#define OPTION_SACK_OK 4
#define OPTION_SACK 5
#define OPTION_TIME 8
#define OPTION_MPTCP 30

/* Where the line goes, and what is left of the frame. */
struct summary {
	char *out;
	size_t used;
	const uint8_t *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void say(struct summary *summary, const char *format,
						      ...)
{
	size_t room = RUMPEL_PACKET_SUMMARY - summary->used;
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(summary->out + summary->used, room, format, arguments);
	va_end(arguments);
	if (len > 0)
		summary->used += (size_t)len < room ? (size_t)len : room - 1;
}

static void say_text(struct summary *summary, const char *text)
{
	size_t len = strlen(text), room = RUMPEL_PACKET_SUMMARY - summary->used - 1;

	len = len < room ? len : room;
	memcpy(summary->out + summary->used, text, len);
	summary->used += len;
}

/* snprintf() would take half of the time of all this. */
static void say_number(struct summary *summary, uint32_t value)
{
	char digits[11];
	char *at = digits + sizeof(digits) - 1;

	*at = 0;
	do {
		*--at = '0' + value % 10;
	} while (value /= 10);
	say_text(summary, at);
}

static void say_named(struct summary *summary, const char *name, uint32_t value)
{
	say_text(summary, name);
	say_number(summary, value);
}

static uint16_t be16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static uint32_t be32(const uint8_t *at)
{
	return (uint32_t)be16(at) << 16 | be16(at + 2);
}

static bool take(struct summary *summary, size_t len, const uint8_t **at)
{
	if (summary->left < len) {
		say_text(summary, " (cut)");
		return false;
	}
	*at = summary->at;
	summary->at += len;
	summary->left -= len;
	return true;
}

static void say_ip4(struct summary *summary, const uint8_t *address)
{
	for (int i = 0; i < 4; i++)
		say_named(summary, i ? "." : "", address[i]);
}

static void say_ip6(struct summary *summary, const uint8_t *address)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, address, text, sizeof(text));
	say_text(summary, text);
}

static void say_mac(struct summary *summary, const uint8_t *mac)
{
	say(summary, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
	    mac[5]);
}

/* ---- above IP ---- */

static void say_mptcp(struct summary *summary, uint8_t subtype)
{
	static const char *const names[] = { "capable", "join", "dss",	     "add-addr", "rm-addr",
					     "prio",	"fail", "fastclose", "rst" };

	subtype >>= 4;
	say_text(summary, "mptcp ");
	if (subtype < sizeof(names) / sizeof(names[0]))
		say_text(summary, names[subtype]);
	else
		say_number(summary, subtype);
}

static void say_options(struct summary *summary, const uint8_t *option, size_t len)
{
	const char *before = " <";

	while (len && *option != OPTION_END) {
		size_t size = *option == OPTION_NOP ? 1 : len > 1 ? option[1] : 0;

		if (!size || size > len || (*option != OPTION_NOP && size < 2)) {
			say_text(summary, before);
			say_text(summary, "bad");
			before = ",";
			break;
		}
		if (*option != OPTION_NOP) {
			say_text(summary, before);
			before = ",";
		}
		if (*option == OPTION_MSS && size == 4)
			say_named(summary, "mss ", be16(option + 2));
		else if (*option == OPTION_WSCALE && size == 3)
			say_named(summary, "wscale ", option[2]);
		else if (*option == OPTION_SACK_OK)
			say_text(summary, "sackOK");
		else if (*option == OPTION_SACK)
			say_named(summary, "sack ", size / 8);
		else if (*option == OPTION_TIME)
			say_text(summary, "TS");
		else if (*option == OPTION_MPTCP && size > 2)
			say_mptcp(summary, option[2]);
		else if (*option != OPTION_NOP)
			say_named(summary, "opt-", *option);
		option += size;
		len -= size;
	}
	if (*before == ',')
		say_text(summary, ">");
}

static void say_tcp(struct summary *summary, size_t len)
{
	static const struct {
		uint8_t flag;
		char letter;
	} flags[] = { { TCP_SYN, 'S' }, { TCP_FIN, 'F' }, { TCP_RST, 'R' },
		      { TCP_PSH, 'P' }, { TCP_URG, 'U' }, { TCP_ACK, '.' } };
	char letters[sizeof(flags) / sizeof(flags[0]) + 1] = "";
	const uint8_t *tcp;
	size_t head, count = 0;

	if (!take(summary, 20, &tcp))
		return;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (tcp[13] & flags[i].flag)
			letters[count++] = flags[i].letter;
	head = (tcp[12] >> 4) * 4;
	say_text(summary, " TCP [");
	say_text(summary, letters);
	say_named(summary, "] seq ", be32(tcp + 4));
	if (tcp[13] & TCP_ACK)
		say_named(summary, " ack ", be32(tcp + 8));
	say_named(summary, " win ", be16(tcp + 14));
	if (head >= 20 && len >= head && summary->left >= head - 20) {
		say_named(summary, " len ", len - head);
		say_options(summary, tcp + 20, head - 20);
	} else {
		say_text(summary, " (cut)");
	}
}

static void say_icmp(struct summary *summary, bool six)
{
	const uint8_t *icmp;
	const char *name = NULL;

	if (!take(summary, 8, &icmp))
		return;
	say_text(summary, six ? " ICMP6" : " ICMP");
	if (icmp[0] == (six ? 128 : 8) || icmp[0] == (six ? 129 : 0)) {
		say_text(summary, icmp[0] == (six ? 128 : 8) ? " echo request" : " echo reply");
		say_named(summary, " id ", be16(icmp + 4));
		say_named(summary, " seq ", be16(icmp + 6));
		return;
	}
	if (icmp[0] == (six ? 1 : 3))
		name = " unreachable ";
	else if (icmp[0] == (six ? 3 : 11))
		name = " time exceeded ";
	else if (six && icmp[0] == 2)
		name = " too big ";
	else if (six && icmp[0] == 135)
		name = " who-has ";
	else if (six && icmp[0] == 136)
		name = " is-at ";
	if (name && six && icmp[0] >= 135 && summary->left >= 16) {
		say_text(summary, name);
		say_ip6(summary, summary->at);
	} else if (name) {
		say_named(summary, name, icmp[1]);
	} else {
		say_named(summary, " type ", icmp[0]);
		say_named(summary, " code ", icmp[1]);
	}
}

static void say_transport(struct summary *summary, uint8_t protocol, size_t len)
{
	switch (protocol) {
	case IPPROTO_TCP:
		say_tcp(summary, len);
		break;
	case IPPROTO_UDP:
		say_named(summary, " UDP len ", len < 8 ? 0 : len - 8);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		say_icmp(summary, protocol == IPPROTO_ICMPV6);
		break;
	default:
		say_named(summary, " proto ", protocol);
		say_named(summary, " len ", len);
	}
}

/* Between the addresses come the ports, where there are any. */
static void say_ends(struct summary *summary, void (*address)(struct summary *, const uint8_t *),
		     const uint8_t *source, const uint8_t *destination, uint8_t protocol)
{
	bool ports =
		(protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP) &&
		summary->left >= 4;

	address(summary, source);
	if (ports)
		say_named(summary, ".", be16(summary->at));
	say_text(summary, " > ");
	address(summary, destination);
	if (ports)
		say_named(summary, ".", be16(summary->at + 2));
}

static void say_ipv4(struct summary *summary)
{
	const uint8_t *ip, *options;
	size_t head, len, offset;

	say_text(summary, "IP ");
	if (!take(summary, 20, &ip))
		return;
	head = (ip[0] & 15) * 4;
	if (head < 20 || !take(summary, head - 20, &options))
		return;
	len = be16(ip + 2) > head ? be16(ip + 2) - head : 0;
	offset = (be16(ip + 6) & 0x1fff) * 8;
	if (offset) {
		say_ends(summary, say_ip4, ip + 12, ip + 16, IPPROTO_NONE);
		say_named(summary, " fragment at ", offset);
		say_named(summary, " len ", len);
		return;
	}
	say_ends(summary, say_ip4, ip + 12, ip + 16, ip[9]);
	say_transport(summary, ip[9], len);
	if (be16(ip + 6) & 0x2000)
		say_text(summary, " fragment at 0");
}

static void say_ipv6(struct summary *summary)
{
	const uint8_t *ip, *header;
	size_t len;
	uint8_t next;

	say_text(summary, "IP6 ");
	if (!take(summary, 40, &ip))
		return;
	len = be16(ip + 4);
	next = ip[6];
	for (int i = 0; i < EXTENSIONS_MAX && (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
					       next == IPPROTO_DSTOPTS);
	     i++) {
		size_t size = summary->left > 1 ? (summary->at[1] + 1) * 8 : 8;

		if (!take(summary, size, &header))
			return;
		next = header[0];
		len = len > size ? len - size : 0;
	}
	if (next == IPPROTO_FRAGMENT && summary->left >= 8 && be16(summary->at + 2) & 0xfff8) {
		say_ends(summary, say_ip6, ip + 8, ip + 24, IPPROTO_NONE);
		say_named(summary, " fragment at ", be16(summary->at + 2) & 0xfff8);
		return;
	}
	if (next == IPPROTO_FRAGMENT && take(summary, 8, &header)) {
		next = header[0];
		len = len > 8 ? len - 8 : 0;
	}
	say_ends(summary, say_ip6, ip + 8, ip + 24, next);
	say_transport(summary, next, len);
}

static void say_arp(struct summary *summary)
{
	const uint8_t *arp;

	say_text(summary, "ARP ");
	if (!take(summary, 28, &arp))
		return;
	switch (be16(arp + 6)) {
	case 1:
		say_text(summary, "who-has ");
		say_ip4(summary, arp + 24);
		say_text(summary, " tell ");
		say_ip4(summary, arp + 14);
		break;
	case 2:
		say_ip4(summary, arp + 14);
		say_text(summary, " is-at ");
		say_mac(summary, arp + 8);
		break;
	default:
		say_named(summary, "operation ", be16(arp + 6));
	}
}

size_t rumpel_packet_summary(const void *frame, size_t len, char *text)
{
	struct summary summary = { .out = text, .at = frame, .left = len };
	const uint8_t *ether, *tag;
	uint16_t type;

	if (!take(&summary, ETHER_HEADER, &ether))
		return summary.used;
	type = be16(ether + 12);
	for (int i = 0; i < VLAN_TAGS_MAX && (type == ETH_P_8021Q || type == ETH_P_8021AD); i++) {
		if (!take(&summary, 4, &tag))
			return summary.used;
		say_named(&summary, "vlan ", be16(tag) & 0xfff);
		say_text(&summary, " ");
		type = be16(tag + 2);
	}
	switch (type) {
	case ETH_P_IP:
		say_ipv4(&summary);
		break;
	case ETH_P_IPV6:
		say_ipv6(&summary);
		break;
	case ETH_P_ARP:
		say_arp(&summary);
		break;
	default:
		say(&summary, "ethertype 0x%04x len ", type);
		say_number(&summary, summary.left);
	}
	return summary.used;
}
