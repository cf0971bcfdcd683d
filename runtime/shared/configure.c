// SPDX-License-Identifier: GPL-2.0-only
/*
 * What ip and sysctl would do, as pid 1 before there are programs: netdevice(7), rtnetlink(7),
 * and files of /proc/sys.
 */
#include "options.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <linux/if.h>
#include <linux/ipv6.h>
#include <linux/ipv6_route.h>
#include <linux/route.h>
#include <linux/rtnetlink.h>
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

/* rtnetlink(7): an ioctl would replace the interface's first address instead. */
struct new_address {
	struct nlmsghdr head;
	struct ifaddrmsg about;
	uint8_t attributes[3 * RTA_SPACE(ADDRESS6)];
};

static void add_attribute(struct new_address *message, int type, const void *data, size_t len)
{
	struct rtattr *attribute = (struct rtattr *)((char *)message + message->head.nlmsg_len);

	attribute->rta_type = type;
	attribute->rta_len = RTA_LENGTH(len);
	memcpy(RTA_DATA(attribute), data, len);
	message->head.nlmsg_len += RTA_SPACE(len);
}

/* Send a request of rtnetlink's; what it is answered. */
static int request_of(struct rumpel_kernel *kernel, struct nlmsghdr *request)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
	} answer = { 0 };
	long fd = call(kernel, SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	long result;

	if (fd < 0)
		return (int)fd;
	result = call(kernel, SYS_sendto, fd, word(request), request->nlmsg_len, 0, 0, 0);
	if (result >= 0)
		result = call(kernel, SYS_recvfrom, fd, word(&answer), sizeof(answer), 0, 0, 0);
	call(kernel, SYS_close, fd);
	return result < 0 ? (int)result : answer.error.error;
}

static int add_address(struct rumpel_kernel *kernel, struct ifreq *request, const char *text)
{
	struct new_address message = {
		.head = { .nlmsg_len = offsetof(struct new_address, attributes),
			  .nlmsg_type = RTM_NEWADDR,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL },
	};
	const char *slash = strchr(text, '/');
	uint8_t bytes[ADDRESS6];
	unsigned int len = options_bytes(text, bytes, ADDRESS6);
	uint32_t prefix = slash ? (uint32_t)options_number(slash + 1) : 0;
	uint32_t all = __builtin_bswap32(prefix < 32 ? ~0u >> prefix : 0);
	int error;

	if (!slash || prefix > len * 8)
		return -EINVAL;
	error = ask(kernel, AF_INET, SIOCGIFINDEX, request);
	message.about.ifa_family = len == ADDRESS6 ? AF_INET6 : AF_INET;
	message.about.ifa_prefixlen = prefix;
	message.about.ifa_index = request->ifr_ifindex;
	add_attribute(&message, IFA_LOCAL, bytes, len);
	add_attribute(&message, IFA_ADDRESS, bytes, len);
	if (len != ADDRESS6 && prefix < 31) {
		for (unsigned int i = 0; i < sizeof(all); i++)
			bytes[i] |= ((uint8_t *)&all)[i];
		add_attribute(&message, IFA_BROADCAST, bytes, len);
	}
	return error ? error : request_of(kernel, &message.head);
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
