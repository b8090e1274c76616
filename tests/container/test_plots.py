"""Summary and plots in the container, which need a font, a process and memory."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import orjson
import pytest

from ops.container.box import Box
from ops.container.load import have_done
from ops.container.peak import peak_of
from ops.container.pictures import Picture, fetch_pictures
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from tests.appliance.faults.submitted import shaken_examples
from tests.container.conftest import Say

#: Rows of the job: enough for its batches to leave digests, so that nothing is read back.
ROWS = 60_000
#: MB that the whole container takes meanwhile, at most.
MOST_MB = 350


def test_a_large_jobs_summary_is_exact_and_every_plot_comes_in_both_forms(box: Box, say: Say) -> None:
    version = ModelCatalog.load(ROOT / "models").get("diabetes")
    pictures: list[Picture] = []
    rows = shaken_examples(version, ROWS)
    with peak_of(box) as peak:
        values = have_done(box, version, rows, lambda path: pictures.extend(fetch_pictures(box, path)))

    say("\n    ".join([f"of {ROWS:,} rows, peak {peak.highest_mb:.0f} MB", *map(str, pictures)]))
    assert 0 < peak.highest_mb < MOST_MB
    for feature in orjson.loads(pictures[0].body)["outputs"][0]["features"]:
        own = values[:, version.features.index(feature["feature"])].astype(np.float64)
        assert feature["mean_abs"] == pytest.approx(np.abs(own).mean(), abs=1e-5)
        assert feature["deviation"] == pytest.approx(own.std(), abs=1e-5)
    for picture in pictures[1:]:
        if picture.media_type == "image/png":
            assert picture.body.startswith(b"\x89PNG")
        else:
            assert "diabetes@1" in ET.fromstring(picture.body).get("aria-label", "")
