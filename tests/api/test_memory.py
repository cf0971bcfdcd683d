# SPDX-License-Identifier: GPL-2.0-only
"""Guest memory that runs out is an error of the call, and of nothing else."""

from __future__ import annotations

import errno

import pytest

from tests.conftest import Boot

NO_MEMORY = (errno.ENOMEM, errno.ENFILE, errno.EAGAIN)
"""What an allocation's failure is called is the system call's choice."""


@pytest.mark.kernel
def test_no_memory_is_an_error_of_the_call(boot: Boot, tiny_image: str) -> None:
    k = boot(image=tiny_image, memory="16M")
    descriptors: list[int] = []
    with pytest.raises(OSError, match=r"memory|files|temporarily") as caught:
        for _ in range(10_000):
            reader, writer = k.os.pipe()
            descriptors += [reader, writer]
            k.os.set_blocking(writer, False)
            k.os.write(writer, b"x" * 65536)
    assert caught.value.errno in NO_MEMORY
    assert len(descriptors) > 100
    for descriptor in descriptors:
        k.os.close(descriptor)
    reader, writer = k.os.pipe()
    assert k.os.write(writer, b"x" * 65536) == 65536
