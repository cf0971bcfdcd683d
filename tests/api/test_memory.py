# SPDX-License-Identifier: GPL-2.0-only
"""Guest memory that runs out is an error of the call, and of nothing else."""

from __future__ import annotations

import errno

import pytest

import rumpel


@pytest.mark.kernel
def test_no_memory_is_an_error_of_the_call() -> None:
    with rumpel.boot(memory="32M") as k, k.process():
        descriptors = []
        with pytest.raises(OSError) as caught:
            for _ in range(10_000):
                reader, writer = k.os.pipe()
                descriptors += [reader, writer]
                k.os.set_blocking(writer, False)
                k.os.write(writer, b"x" * 65536)
        # What an allocation's failure is called is the system call's choice.
        assert caught.value.errno in (errno.ENOMEM, errno.ENFILE, errno.EAGAIN)
        assert len(descriptors) > 100
        for descriptor in descriptors:
            k.os.close(descriptor)
        reader, writer = k.os.pipe()
        assert k.os.write(writer, b"x" * 65536) == 65536
