# SPDX-License-Identifier: GPL-2.0-only
"""An image is freestanding and position-independent: any loader of a page of code can load it.

Every image that is built from the port as it is now is looked at; ``./dev test``
builds those of ``RUMPEL_TEST_IMAGES`` first.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_RELOC_TYPE_x64
from elftools.elf.relocation import RelocationTable, RelrRelocationTable
from elftools.elf.sections import Symbol

from rumpel.build import Image, Layout, find_image
from rumpel.build.versions import supported

PROFILES = ("default", "tiny", "debug")
PAGE = 4096
READ, WRITE, EXECUTE = 4, 2, 1
ENTRY = "rumpel_image"
DF_TEXTREL = 4
SHF_EXECINSTR = 4
VECTOR = (b"%xmm", b"%ymm", b"%zmm", b"%mm", b"%st")


def images() -> dict[str, Image]:
    """The images that are there, as ``6.12:tiny``."""
    found = {}
    for version in supported(Layout()):
        for profile in PROFILES:
            image = find_image(version, profile)
            if image:
                found[f"{version}:{profile}"] = image
    return found


IMAGES = images()


@cache
def elf(path: Path) -> ELFFile:
    """The parsed file; stays open for the run."""
    return ELFFile(BytesIO(path.read_bytes()))


@pytest.fixture(params=list(IMAGES.values()), ids=list(IMAGES))
def image(request: pytest.FixtureRequest) -> ELFFile:
    """One image after the other."""
    return elf(request.param.path)


def segments(image: ELFFile, kind: str) -> list[Any]:
    return [x for x in image.iter_segments() if x["p_type"] == kind]


def dynamic(image: ELFFile) -> DynamicSegment:
    (found,) = segments(image, "PT_DYNAMIC")
    assert isinstance(found, DynamicSegment)
    return found


def symbols(image: ELFFile) -> list[Symbol]:
    """The dynamic symbols, without the null one."""
    return list(dynamic(image).iter_symbols())[1:]


def relocated(image: ELFFile) -> Iterator[tuple[int, int]]:
    """All relocations as (type, address); those of RELR are relative by what they are."""
    relative = ENUM_RELOC_TYPE_x64["R_X86_64_RELATIVE"]
    for table in dynamic(image).get_relocation_tables().values():
        assert isinstance(table, RelocationTable | RelrRelocationTable)
        packed = isinstance(table, RelrRelocationTable)
        for one in table.iter_relocations():
            yield relative if packed else one["r_info_type"], one["r_offset"]


def test_images_that_were_built_are_looked_at() -> None:
    wanted = os.environ.get("RUMPEL_TEST_IMAGES", "6.12:default 6.12:tiny").split()
    assert set(wanted) <= set(IMAGES)


def test_is_a_position_independent_object(image: ELFFile) -> None:
    assert image["e_type"] == "ET_DYN"
    assert image["e_machine"] == "EM_X86_64"
    assert segments(image, "PT_LOAD")[0]["p_vaddr"] == 0


def test_needs_nothing(image: ELFFile) -> None:
    assert segments(image, "PT_INTERP") == []
    assert segments(image, "PT_TLS") == []
    tags = {tag["d_tag"] for tag in dynamic(image).iter_tags()}
    assert not tags & {"DT_NEEDED", "DT_INIT", "DT_FINI", "DT_INIT_ARRAY", "DT_FINI_ARRAY"}


def test_exports_its_entry_only(image: ELFFile) -> None:
    (entry,) = symbols(image)
    assert entry.name == ENTRY
    assert entry["st_shndx"] != "SHN_UNDEF"
    assert entry["st_info"] == {"bind": "STB_GLOBAL", "type": "STT_OBJECT"}
    assert image["e_entry"] == entry["st_value"]


def test_segments_can_be_mapped(image: ELFFile) -> None:
    end = 0
    for segment in segments(image, "PT_LOAD"):
        assert segment["p_align"] == PAGE
        assert segment["p_vaddr"] % PAGE == 0
        assert segment["p_offset"] % PAGE == segment["p_vaddr"] % PAGE
        assert segment["p_filesz"] <= segment["p_memsz"]
        assert segment["p_vaddr"] >= end
        end = segment["p_vaddr"] + segment["p_memsz"]


def test_nothing_is_writable_and_executable(image: ELFFile) -> None:
    flags = [segment["p_flags"] for segment in segments(image, "PT_LOAD")]
    assert set(flags) == {READ | EXECUTE, READ | WRITE}
    # The one that is shared by all kernels of the image.
    assert flags.count(READ | EXECUTE) == 1
    stack = segments(image, "PT_GNU_STACK")
    assert all(not segment["p_flags"] & EXECUTE for segment in stack)


def test_relocations_are_relative(image: ELFFile) -> None:
    kinds = {kind for kind, _ in relocated(image)}
    assert kinds == {ENUM_RELOC_TYPE_x64["R_X86_64_RELATIVE"]}


def test_relocations_write_to_data_only(image: ELFFile) -> None:
    data = [
        (segment["p_vaddr"], segment["p_vaddr"] + segment["p_filesz"])
        for segment in segments(image, "PT_LOAD")
        if segment["p_flags"] & WRITE
    ]
    places = [place for _, place in relocated(image)]
    assert len(places) > 1000
    assert [x for x in places if not any(a <= x and x + 8 <= b for a, b in data)] == []
    tags = list(dynamic(image).iter_tags())
    assert [tag for tag in tags if tag["d_tag"] == "DT_TEXTREL"] == []
    assert [tag for tag in tags if tag["d_tag"] == "DT_FLAGS" and tag["d_val"] & DF_TEXTREL] == []


def test_image_is_stripped(image: ELFFile) -> None:
    names = {section.name for section in image.iter_sections()}
    assert not names & {".symtab", ".comment"}
    assert [name for name in names if name.startswith(".debug")] == []


def test_only_text_is_executable(image: ELFFile) -> None:
    executable = {x.name for x in image.iter_sections() if x["sh_flags"] & SHF_EXECINSTR}
    assert executable == {".text", ".init.text", ".exit.text"}


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("built", IMAGES.values(), ids=list(IMAGES))
def test_no_vector_register_is_used(built: Image) -> None:
    """A switch of stacks does not keep them, neither the kernel's nor the host's."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--section=.text", str(built.path)]
    lines = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as objdump:
        assert objdump.stdout
        # Millions of lines: a megabyte of them at a time.
        while some := objdump.stdout.readlines(1 << 20):
            lines += len(some)
            text = b"".join(some)
            for register in VECTOR:
                assert register not in text, [line for line in some if register in line][:3]
    assert objdump.returncode == 0
    assert lines > 100_000
