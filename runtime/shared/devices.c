// SPDX-License-Identifier: GPL-2.0-only
/* A keeper's devices, as its arguments describe them (options.h). */
#include "options.h"

#define MAC 6
#define NAME 64

/* The value of ",name=" in the text, or NULL. */
static const char *attribute(const char *text, const char *name)
{
	const char *value;

	for (text = strchr(text, ','); text; text = strchr(text, ',')) {
		value = options_value(++text, name);
		if (value)
			return value;
	}
	return NULL;
}

/* A name, up to the attributes. */
static int copy_name(char name[NAME], const char *text)
{
	size_t len = 0;

	while (text[len] && text[len] != ',') {
		if (len == NAME - 1)
			return -ENAMETOOLONG;
		name[len] = text[len];
		len++;
	}
	name[len] = 0;
	return 0;
}

static int make_interface(const char *text, struct rumpel_device **device)
{
	const char *mac_text = attribute(text, "mac"), *mtu_text = attribute(text, "mtu");
	const char *value;
	unsigned int mtu = mtu_text ? (unsigned int)options_number(mtu_text) : 0;
	unsigned int flags = attribute(text, "plain") ? RUMPEL_NET_NO_OFFLOADS : 0;
	uint8_t bytes[MAC], *mac = NULL;
	char name[NAME];
	int error;

	if (mac_text) {
		if (options_bytes(mac_text, bytes, MAC) != MAC)
			return -EINVAL;
		mac = bytes;
	}
	if ((value = options_value(text, "tap"))) {
		error = rumpel_net_tap((int)options_number(value), flags, mac, mtu, device);
	} else if ((value = options_value(text, "frames"))) {
		error = rumpel_net_fd((int)options_number(value), mac, mtu, device);
	} else {
		error = copy_name(name, options_value(text, "packet"));
		if (!error)
			error = rumpel_net_packet(name, flags, mac, mtu, device);
	}
	return error;
}

int options_capture(const char *text, struct rumpel_device *device)
{
	const char *pcap = attribute(text, "pcap");

	return pcap ? rumpel_net_capture(device, (int)options_number(pcap), RUMPEL_CAPTURE_REALTIME,
					 NULL)
		    : 0;
}

int options_device(const char *text, struct rumpel_device **device)
{
	const char *disk = options_value(text, "disk"), *nbd = options_value(text, "nbd"), *size;

	if (disk)
		return rumpel_block_file(disk, 0, device);
	if (!nbd)
		return make_interface(text, device);
	size = attribute(text, "size");
	return rumpel_block_nbd((int)options_number(nbd), size ? options_number(size) : 0,
				(unsigned int)options_number(attribute(text, "flags") ?: "0"),
				device);
}
