// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who gets the signals of a descriptor of the library kernel's: fcntl(2) with F_SETOWN and
 * its like, and what ioctl(2) has of the same. Processes are the host's.
 */
#include <asm/ioctls.h>
#include <asm/sockios.h>
#include <linux/fcntl.h>

#include "files.h"

bool owner_has(int command)
{
	switch (command) {
	case F_SETOWN:
	case F_GETOWN:
	case F_SETOWN_EX:
	case F_GETOWN_EX:
	case F_SETSIG:
	case F_GETSIG:
	case F_SETFL:
		return true;
	}
	return false;
}

/* As F_SETOWN says it: a group is negative. */
static long set_id(int fd, struct rumpel_owner *owner, int id)
{
	owner->type = id < 0 ? F_OWNER_PGRP : F_OWNER_PID;
	owner->id = id < 0 ? -id : id;
	if (id && host(__NR_kill, id, 0) == -ESRCH)
		return -ESRCH;
	return kernel_set_owner(fd, owner);
}

static int get_id(const struct rumpel_owner *owner)
{
	return owner->type == F_OWNER_PGRP ? -owner->id : owner->id;
}

static long set_ex(int fd, struct rumpel_owner *owner, uint64_t from)
{
	struct f_owner_ex ex;

	if (copy_in(&ex, from, sizeof(ex)))
		return -EFAULT;
	if (ex.type < F_OWNER_TID || ex.type > F_OWNER_PGRP)
		return -EINVAL;
	owner->type = ex.type;
	owner->id = ex.pid;
	return kernel_set_owner(fd, owner);
}

static long set_async(int fd, struct rumpel_owner *owner, bool on)
{
	if (owner->async == on)
		return 0;
	owner->async = on;
	return kernel_set_owner(fd, owner);
}

/* The flag itself is the kernel's, which has nobody to tell: another program may have set it. */
static long set_flags(struct thread *t, int fd)
{
	const unsigned long get[6] = { (unsigned long)fd, F_GETFL };
	bool on = t->regs.rdx & FASYNC, was = !on && kernel_call_with(t, __NR_fcntl, get) & FASYNC;
	struct rumpel_owner owner;
	long result = direct_call(t);

	if (result || (!on && !was))
		return result;
	result = kernel_get_owner(fd, &owner);
	return result ? result : set_async(fd, &owner, on);
}

long owner_fcntl(struct thread *t)
{
	int fd = (int)t->regs.rdi, command = (int)t->regs.rsi;
	uint64_t argument = t->regs.rdx;
	struct rumpel_owner owner;
	struct f_owner_ex ex;
	long result;

	if (command == F_SETFL)
		return set_flags(t, fd);
	result = kernel_get_owner(fd, &owner);
	if (result)
		return result;
	switch (command) {
	case F_SETOWN:
		return set_id(fd, &owner, (int)argument);
	case F_GETOWN:
		return get_id(&owner);
	case F_SETOWN_EX:
		return set_ex(fd, &owner, argument);
	case F_GETOWN_EX:
		ex = (struct f_owner_ex){ owner.type, owner.id };
		return copy_out(argument, &ex, sizeof(ex)) ? -EFAULT : 0;
	case F_SETSIG:
		if (argument > SIGNALS)
			return -EINVAL;
		owner.signal = (int)argument;
		return kernel_set_owner(fd, &owner);
	}
	return owner.signal;
}

bool owner_has_ioctl(uint32_t command)
{
	return command == FIOASYNC || command == FIOSETOWN || command == SIOCSPGRP ||
	       command == FIOGETOWN || command == SIOCGPGRP;
}

long owner_ioctl(struct thread *t)
{
	int fd = (int)t->regs.rdi, value;
	uint32_t command = t->regs.rsi;
	struct rumpel_owner owner;
	long result = kernel_get_owner(fd, &owner);

	if (result)
		return result;
	if (command == FIOGETOWN || command == SIOCGPGRP) {
		value = get_id(&owner);
		return copy_out(t->regs.rdx, &value, sizeof(value)) ? -EFAULT : 0;
	}
	if (copy_in(&value, t->regs.rdx, sizeof(value)))
		return -EFAULT;
	if (command != FIOASYNC)
		return set_id(fd, &owner, value);
	result = kernel_call(t);
	return result ? result : set_async(fd, &owner, value);
}
