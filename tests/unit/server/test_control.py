"""The conversation between `gw status|reload|stop` and a supervisor."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gw.errors import GatewayError
from gw.server import control
from gw.server.channel import LENGTH
from gw.server.control import Control, call, find, folders, name_of


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control, "folders", lambda: [tmp_path / "no" / "such", tmp_path / "run"])
    return tmp_path / "run"


async def double(number: int) -> dict[str, int]:
    return {"twice": number * 2}


def serving(config: Path, ask: Callable[[], Any]) -> Any:
    """Run `ask` in a thread while a supervisor's end is open."""

    async def main() -> Any:
        server = Control({"double": double})
        assert await server.start(config)
        try:
            return await asyncio.to_thread(ask)
        finally:
            server.stop()
            await asyncio.sleep(0)

    return asyncio.run(main())


def test_a_call_and_its_answer(tmp_path: Path) -> None:
    config = tmp_path / "gw.yaml"
    assert serving(config, lambda: call(config, "double", number=21)) == {"twice": 42}


def test_the_socket_is_private_and_goes_away(tmp_path: Path, runtime_folder: Path) -> None:
    config = tmp_path / "gw.yaml"
    path = serving(config, lambda: find(config))
    assert path == runtime_folder / name_of(config)
    assert stat.S_IMODE(runtime_folder.stat().st_mode) == 0o700
    assert list(runtime_folder.iterdir()) == []


def test_an_unknown_request_is_answered_with_what_is_known(tmp_path: Path) -> None:
    config = tmp_path / "gw.yaml"
    with pytest.raises(GatewayError, match="does not know the request 'triple'; it knows double"):
        serving(config, lambda: call(config, "triple"))


def test_nobody_runs(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"no gw is running with .*gw\.yaml"):
        call(tmp_path / "gw.yaml", "status")


def test_the_last_one_was_killed(tmp_path: Path, runtime_folder: Path) -> None:
    runtime_folder.mkdir(mode=0o700)
    config = tmp_path / "gw.yaml"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime_folder / name_of(config)))
    with pytest.raises(GatewayError, match="did not end well"):
        call(config, "status")
    assert serving(config, lambda: call(config, "double", number=1)) == {"twice": 2}


def test_a_folder_that_others_can_enter_is_not_trusted(tmp_path: Path, runtime_folder: Path) -> None:
    runtime_folder.mkdir(mode=0o755)

    async def main() -> Path | None:
        return await Control({}).start(tmp_path / "gw.yaml")

    assert asyncio.run(main()) is None
    assert find(tmp_path / "gw.yaml") is None


def test_a_successor_takes_the_name_over(tmp_path: Path) -> None:
    config = tmp_path / "gw.yaml"

    async def who(name: str) -> str:
        return name

    async def main() -> None:
        old, new = Control({"who": lambda: who("old")}), Control({"who": lambda: who("new")})
        await old.start(config)
        assert await asyncio.to_thread(call, config, "who") == "old"
        await new.start(config)
        old.stop()
        assert await asyncio.to_thread(call, config, "who") == "new"
        new.stop()
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("data", [LENGTH.pack(3) + b"\xc1\xc1\xc1", LENGTH.pack(2**32 - 1) + bytes(control.REQUEST_MAX), b"\0"])
def test_garbage_hurts_nobody(tmp_path: Path, data: bytes) -> None:
    config = tmp_path / "gw.yaml"

    def ask() -> Any:
        path = find(config)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1024)
        return call(config, "double", number=3)

    assert serving(config, ask) == {"twice": 6}


def test_the_supervisor_vanishes_in_the_middle(tmp_path: Path, runtime_folder: Path) -> None:
    config = tmp_path / "gw.yaml"
    runtime_folder.mkdir(mode=0o700)

    async def main() -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_unix_server(hang_up, runtime_folder / name_of(config)):
            with pytest.raises(GatewayError, match="ended before it answered"):
                await asyncio.to_thread(call, config, "status")

    asyncio.run(main())


def test_folders_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert folders({"XDG_RUNTIME_DIR": "/run/user/1000"}) == [Path("/run/user/1000/gw"), Path("/tmp/gw-1000")]
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert folders({}) == [Path("/run/gw"), Path("/tmp/gw-0")]
