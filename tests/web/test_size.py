"""The whole interface is small enough for the poorest link of a vessel."""

from __future__ import annotations

import gzip

from nims_appliance.web.assets import Assets

MOST_BYTES = 300_000


def test_all_pages_together_are_small_when_compressed() -> None:
    assets = Assets()
    sizes = {name: len(gzip.compress(file.data, 6)) for name, file in {**assets.files, **assets.pages}.items()}
    assert "vendor/uPlot.js" in sizes  # what is installed beside them counts
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    assert sum(sizes.values()) < MOST_BYTES, largest
