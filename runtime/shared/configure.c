// SPDX-License-Identifier: GPL-2.0-only
/*
 * What ip and sysctl would do, as pid 1 before there are programs: netdevice(7), ipv6(7),
 * and files of /proc/sys.
 */
#include "options.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <linux/if.h>
#include <linux/ipv6.h>
#include <linux/ipv6_route.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define ADDRESS6 16
#define NAME 256

#define call(kernel, nr, ...) task_call(rumpel_kernel_init(kernel), nr, ##__VA_ARGS__)
#define word(pointer) ((unsigned long)(pointer))

static int ask(struct rumpel_kernel *kernel, int family, unsigned long request, void *argument)
{
	long fd = call(kernel, SYS_socket, family, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

	if (fd < 0)
		return (int)fd;
	result = call(kernel, SYS_ioctl, fd, request, word(argument));
	call(kernel, SYS_close, fd);
	return (int)result;
}

/* A name that ends with ',' or the text; what follows it, or NULL. */
static const char *split(char *name, size_t size, const char *text)
{
	size_t len = 0;

	while (text[len] && text[len] != ',' && len + 1 < size) {
		name[len] = text[len];
		len++;
	}
	name[len] = 0;
	return text[len] == ',' ? text + len + 1 : NULL;
}

static int set_up(struct rumpel_kernel *kernel, struct ifreq *request)
{
	int error = ask(kernel, AF_INET, SIOCGIFFLAGS, request);

	request->ifr_flags |= IFF_UP;
	return error ? error : ask(kernel, AF_INET, SIOCSIFFLAGS, request);
}

static void set_address(struct sockaddr *address, const uint8_t bytes[4])
{
	struct sockaddr_in *in = (struct sockaddr_in *)address;

	memset(in, 0, sizeof(*in));
	in->sin_family = AF_INET;
	memcpy(&in->sin_addr, bytes, 4);
}

static int add_address(struct rumpel_kernel *kernel, struct ifreq *request, const char *text)
{
	struct in6_ifreq six = { 0 };
	const char *slash = strchr(text, '/');
	unsigned int len = options_bytes(text, (uint8_t *)&six.ifr6_addr, ADDRESS6);
	uint32_t prefix = slash ? (uint32_t)options_number(slash + 1) : 0, mask;
	int error;

	if (!slash || prefix > len * 8)
		return -EINVAL;
	if (len == ADDRESS6) {
		six.ifr6_prefixlen = prefix;
		error = ask(kernel, AF_INET, SIOCGIFINDEX, request);
		six.ifr6_ifindex = request->ifr_ifindex;
		return error ? error : ask(kernel, AF_INET6, SIOCSIFADDR, &six);
	}
	set_address(&request->ifr_addr, (uint8_t *)&six.ifr6_addr);
	error = ask(kernel, AF_INET, SIOCSIFADDR, request);
	mask = __builtin_bswap32(prefix ? ~0u << (32 - prefix) : 0);
	set_address(&request->ifr_netmask, (uint8_t *)&mask);
	return error ? error : ask(kernel, AF_INET, SIOCSIFNETMASK, request);
}

static int add_gateway(struct rumpel_kernel *kernel, struct ifreq *request, const char *text)
{
	static const uint8_t any[4];
	struct in6_rtmsg six = { .rtmsg_flags = RTF_UP | RTF_GATEWAY, .rtmsg_metric = 1024 };
	struct rtentry four = { .rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = request->ifr_name };
	uint8_t bytes[ADDRESS6];
	unsigned int len = options_bytes(text, bytes, ADDRESS6);
	int error;

	if (len == ADDRESS6) {
		error = ask(kernel, AF_INET, SIOCGIFINDEX, request);
		six.rtmsg_ifindex = request->ifr_ifindex;
		memcpy(&six.rtmsg_gateway, bytes, len);
		return error ? error : ask(kernel, AF_INET6, SIOCADDRT, &six);
	}
	set_address(&four.rt_gateway, bytes);
	set_address(&four.rt_dst, any);
	set_address(&four.rt_genmask, any);
	return ask(kernel, AF_INET, SIOCADDRT, &four);
}

static int write_file(struct rumpel_kernel *kernel, const char *path, const char *text)
{
	long fd =
		call(kernel, SYS_open, word(path), O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0644);
	long result;

	if (fd < 0)
		return (int)fd;
	result = call(kernel, SYS_write, fd, word(text), strlen(text));
	call(kernel, SYS_close, fd);
	return result < 0 ? (int)result : 0;
}

int options_step(struct rumpel_kernel *kernel, const char *text)
{
	const char *value, *rest;
	struct ifreq request = { 0 };
	char path[NAME];

	if ((value = options_value(text, "write"))) {
		rest = split(path, sizeof(path), value);
		return rest ? write_file(kernel, path, rest) : -EINVAL;
	}
	if ((value = options_value(text, "up"))) {
		split(request.ifr_name, sizeof(request.ifr_name), value);
		return set_up(kernel, &request);
	}
	rest = split(request.ifr_name, sizeof(request.ifr_name), strchr(text, '=') + 1);
	if (!rest)
		return -EINVAL;
	if (options_value(text, "address"))
		return add_address(kernel, &request, rest);
	if (options_value(text, "gateway"))
		return add_gateway(kernel, &request, rest);
	request.ifr_mtu = (int)options_number(rest);
	return ask(kernel, AF_INET, SIOCSIFMTU, &request);
}
