"""A change of a watched file is told once, when it has settled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from gw.config import loads
from gw.server.watch import POLL, SETTLE, Watch, watched


def told(watch_of: Callable[[Watch], None], *steps: Callable[[], None]) -> tuple[list[list[Path]], list[float]]:
    """Run a watch whose n-th sleep does the n-th step; after the last one it ends."""
    heard: list[list[Path]] = []
    slept: list[float] = []
    pending = list(steps)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if not pending:
            raise asyncio.CancelledError
        pending.pop(0)()

    async def main() -> None:
        watch = Watch(heard.append, sleep)
        watch_of(watch)
        try:
            await watch.run()
        except asyncio.CancelledError:
            return

    asyncio.run(main())
    return heard, slept


def nothing() -> None:
    return


def test_no_change_no_word(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text("a")
    assert told(lambda watch: watch.follow([file]), nothing, nothing)[0] == []


def test_a_burst_is_one_word(tmp_path: Path) -> None:
    one, two = tmp_path / "cert.pem", tmp_path / "key.pem"
    one.write_text("1")
    two.write_text("2")
    heard, slept = told(lambda watch: watch.follow([one, two]), lambda: one.write_text("11"), lambda: two.write_text("22"), nothing, nothing, nothing)
    assert heard == [[one, two]]
    assert slept[:4] == [POLL, SETTLE, SETTLE, POLL]


def test_replaced_removed_and_swapped_links_are_changes(tmp_path: Path) -> None:
    file, link = tmp_path / "gw.yaml", tmp_path / "link"
    (tmp_path / "v1").write_text("same")
    (tmp_path / "v2").write_text("same")
    file.write_text("old")
    link.symlink_to("v1")

    def replace() -> None:
        (tmp_path / "fresh").write_text("new")
        (tmp_path / "fresh").rename(file)

    def swap() -> None:
        (tmp_path / "other").symlink_to("v2")
        os.replace(tmp_path / "other", link)

    heard, _ = told(lambda watch: watch.follow([file, link]), replace, nothing, swap, nothing, file.unlink, nothing, nothing)
    assert heard == [[file], [link], [file]]


def test_what_follows_a_reload_is_the_new_state(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text("a")
    kept: list[Watch] = []

    def reloaded() -> None:
        file.write_text("bb")
        kept[0].follow([file])

    def start(watch: Watch) -> None:
        kept.append(watch)
        watch.follow([file])

    assert told(start, lambda: file.write_text("aa"), reloaded, nothing, nothing)[0] == []


def test_everything_the_snapshot_depends_on(tmp_path: Path) -> None:
    modules = tmp_path / "mine" / "deep"
    modules.mkdir(parents=True)
    (modules / "stamp.py").write_text("")
    text = "listeners: [{bind: ':0'}]\nmodules: [mine]\nroutes: [{path: /, respond: {}}]\n"
    loaded = loads(text, name="gw.yaml", base=tmp_path)
    assert set(watched(loaded, tmp_path)) == {tmp_path, Path("gw.yaml"), tmp_path / "mine", modules / "stamp.py"}
