"""Fuzzes one target: `under_atheris.py TARGET [options of libFuzzer] [folders]`."""

import logging
import sys

import atheris  # type: ignore[import-untyped]  # installed by __main__, where it is needed

with atheris.instrument_imports(include=["services", "shared", "ops", "waitress"]):
    from tests.search.fuzz.targets import TARGETS

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
