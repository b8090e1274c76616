"""The kernels' C: no warnings, headers that compile alone, prefixed names."""

import subprocess
from pathlib import Path

import pytest

from shared.treeshap import build
from tests.unit.conftest import REQUIRED

HEADERS = sorted(build.SOURCES.glob("*.h"))
#: A function that only the including file calls is no fault of a header.
CHECKED = ("-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-x", "c")


@pytest.fixture(scope="module")
def compiler() -> str:
    found = build.find_compiler()
    if found is None:
        assert not REQUIRED, "no C compiler is here"
        pytest.skip("no C compiler is here")
    return found


@pytest.mark.usefixtures("compiler")
def test_compile_without_a_warning_and_export_prefixed_names(tmp_path: Path) -> None:
    library = build.build(tmp_path / "treeshap.so", ["-Werror", "-O1"])
    command = ["nm", "-g", "--defined-only", str(library)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in listed.splitlines()]
    assert names
    assert [name for name in names if not name.startswith("treeshap_")] == []


def test_each_header_compiles_alone(compiler: str) -> None:
    for flags in ((), *(build.X86_KERNELS.values() if build.is_x86() else ())):
        command = [compiler, *CHECKED, *flags, *map(str, HEADERS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
