import os

import pytest

from shared.treeshap import build
from shared.treeshap.library import Library

#: Set where the kernels must be built (.ci/run): a missing compiler is then a failure.
REQUIRED = os.environ.get("SHAPBOX_KERNEL_TESTS") == "required"


@pytest.fixture(scope="session")
def library() -> Library:
    if not build.is_current():
        if build.find_compiler() is None and not REQUIRED:
            pytest.skip("no C compiler is here to build the kernels with")
        build.build()
    return Library(build.LIBRARY)
