"""The page when the appliance goes, comes back, or cannot do its work."""

from __future__ import annotations

from pathlib import Path

from nims_appliance.context import Context
from nims_appliance.pipeline.display import DisplayEncoder


def test_a_restart_is_told_and_survived_without_a_hand(
    context: Context, serving, open_page, blobs_frame, pixels, eventually
) -> None:
    encoder = DisplayEncoder()
    sonar = context.sonars["pen"]
    sonar.last_picture = encoder.encode(blobs_frame(1, [(9.0, 0.3)]))
    with serving(context) as server:
        port = server.port
        page = open_page(server.url)
        page.wait_for_selector("#connection[data-state=live]")
        page.wait_for_selector(".pane .picture")
    page.wait_for_selector("#connection[data-state=lost]")
    page.wait_for_selector(".pane.stale")
    assert "no connection" in page.locator(".notice").inner_text()
    before = pixels(page.locator(".view"))
    again = Context(context.data, context.config, context.plugins, sonars=context.sonars)
    with serving(again, port) as server:
        page.wait_for_selector("#connection[data-state=live]")
        # A new run counts its frames from the beginning.
        server.call(sonar.pictures.publish, encoder.encode(blobs_frame(0, [(14.0, -0.4)])))
        page.wait_for_selector(".pane:not(.stale)")

        def picture_is_another() -> None:
            assert (abs(pixels(page.locator(".view")) - before).sum(axis=2) > 100).mean() > 0.001

        eventually(page, picture_is_another)


def test_safe_mode_is_told_on_the_page(context: Context, serving, open_page, tmp_path: Path) -> None:
    context.config.errors.append("config.yaml:3: sonars.pen.link: expected tcp://, got '<b>'")
    context.sonars.clear()
    with serving(context) as server:
        page = open_page(server.url)
        page.wait_for_selector("#problems:not([hidden])")
        assert "config.yaml:3" in page.locator("#problems").inner_text()
        assert "<b>" in page.locator("#problems").inner_text()
