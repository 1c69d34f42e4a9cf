"""Ends a process at the n-th change it makes to a folder, or takes its power away there.

It stands between Python and the system: every write, truncation, renaming, removal, making of a
folder and fsync below the folder is one point. A torn point does half: of a write the first half of
the bytes; before a renaming the draft loses its second half, as its library had not ended.
"""

import asyncio
import functools
import multiprocessing
import os
import random
import shutil
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Literal

from omni_batch.config import parse_config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.store import RunDir

Death = Literal[
    "killed",
    "torn",
    "power lost",
    "power lost, its names written",
    "power lost, some of it written",
]
"""Names are those in folders: a file system may write them long before what the files contain."""
DIED = 137
_POINTS = ("write", "ftruncate", "replace", "rename", "unlink", "rmdir", "mkdir", "fsync")
_REAL = {name: getattr(os, name) for name in _POINTS}


@dataclass(frozen=True, slots=True)
class Point:
    """Where and how a process dies."""

    folder: Path
    at: int
    death: Death
    witness: Path
    """Where the dying process writes what it was about to do, and how many items were done."""


class Guard:
    """Lets a process do what it wants to a folder, until it reaches its point."""

    def __init__(self, point: Point) -> None:
        self._point = point
        self._passed = 0
        self._lock = threading.RLock()
        self._disk = _OnDisk(point.folder) if point.death.startswith("power lost") else None
        self.run: Run | None = None
        for name in _POINTS:
            setattr(os, name, functools.partial(self._pass, name))

    def _pass(self, name: str, *arguments: Any, **options: Any) -> Any:
        path = _path(arguments[0], options.get("dir_fd"))
        if path is None or not path.is_relative_to(self._point.folder):
            return _REAL[name](*arguments, **options)
        with self._lock:
            self._passed += 1
            if self._passed == self._point.at:
                self._die(name, *arguments)
            done = _REAL[name](*arguments, **options)
            if name == "fsync" and self._disk:
                self._disk.settle(arguments[0])
            return done

    def end(self) -> None:
        """The last point: the work is done."""
        with self._lock:
            self._passed += 1
            if self._passed == self._point.at:
                self._die("end")

    def _die(self, name: str, *arguments: Any) -> None:
        if self._point.death == "torn" and name == "write":
            _REAL["write"](arguments[0], arguments[1][: len(arguments[1]) // 2])
        if self._point.death == "torn" and name == "replace" and Path(arguments[0]).is_file():
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
        done = self.run.ledger.counts.done if self.run else 0
        self._point.witness.write_text(f"{name} {done}")
        try:  # the lock is ours for ever: no other thread changes anything any more
            if self._disk:
                self._disk.lose_the_rest(_luck(self._point))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(DIED)


Names = dict[str, int]
Luck = Callable[[bytes | Names, bytes | Names], bytes | Names]
"""Of what is settled and what is there now, chooses what the disk has."""


def _luck(point: Point) -> Luck:
    match point.death:
        case "power lost, some of it written":
            return functools.partial(_some, random.Random(point.at))
        case "power lost, its names written":
            return lambda settled, latest: latest if isinstance(latest, dict) else settled
        case _:
            return lambda settled, latest: settled


def _some(chance: random.Random, settled: bytes | Names, latest: bytes | Names) -> bytes | Names:
    if isinstance(latest, dict) or isinstance(settled, dict):
        return chance.choice((latest, settled))
    torn = latest[: (len(settled) + len(latest)) // 2] if latest[: len(settled)] else b""
    zeros = latest[: len(torn)] + bytes(len(latest) - len(torn))
    return chance.choice((latest, settled, torn, zeros))


def _path(target: int | str | os.PathLike[str], folder: int | None) -> Path | None:
    try:
        if isinstance(target, int):
            return Path(f"/proc/self/fd/{target}").readlink()
        above = Path.cwd() if folder is None else Path(f"/proc/self/fd/{folder}").readlink()
        return above / target
    except (OSError, TypeError):
        return None


class _OnDisk:
    """What the disk holds for certain: contents and names as of the last fsync of each.

    All that stood there at the beginning is on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[int, bytes | Names] = {}
        self._held: dict[int, int] = {}  # open files, so that no number is given to another file
        for path in (folder, *folder.rglob("*")):
            self._take(path)

    def settle(self, file: int) -> None:
        """What a file or a folder is now will last."""
        self._take(Path(f"/proc/self/fd/{file}"))

    def _take(self, path: Path) -> None:
        file = os.open(path, os.O_RDONLY)
        number = os.fstat(file).st_ino
        self._contents[number] = _now(path)
        self._held[number] = self._held.get(number, file)
        if file != self._held[number]:
            os.close(file)
        names = self._contents[number]
        for name, inner in names.items() if isinstance(names, dict) else ():
            if inner not in self._held:
                self._held[inner] = os.open(path / name, os.O_RDONLY)

    def lose_the_rest(self, luck: Luck) -> None:
        """Write down beside the folder what the next start of the machine would find in it.

        Args:
            luck: decides what of the rest was written nevertheless.
        """
        now: dict[int, bytes | Names] = {}
        for path in (self._folder, *self._folder.rglob("*")):
            now[path.stat().st_ino] = _now(path)
        top = self._folder.stat().st_ino
        image = self._image(top, Path(), now, luck)
        after = _after(self._folder)
        after.mkdir()
        for name, content in image.items():
            path = after / name
            path.mkdir() if content is None else path.write_bytes(content)

    def _image(
        self, number: int, path: Path, now: dict[int, bytes | Names], luck: Luck
    ) -> dict[Path, bytes | None]:
        names = self._settled(number, now, luck)
        assert isinstance(names, dict)
        image: dict[Path, bytes | None] = {}
        for name, inner in names.items():
            held = self._held.get(inner)
            is_folder = isinstance(now.get(inner), dict) or (
                held is not None and S_ISDIR(os.fstat(held).st_mode)
            )
            if is_folder:
                image |= {path / name: None} | self._image(inner, path / name, now, luck)
            else:
                content = self._settled(inner, now, luck)
                image[path / name] = content if isinstance(content, bytes) else b""
        return image

    def _settled(self, number: int, now: dict[int, bytes | Names], luck: Luck) -> bytes | Names:
        latest = now.get(number)
        settled = self._contents.get(number, {} if isinstance(latest, dict) else b"")
        return settled if latest is None or latest == settled else luck(settled, latest)


def _now(path: Path) -> bytes | Names:
    if path.is_dir():
        return {inner.name: inner.stat().st_ino for inner in path.iterdir()}
    return path.read_bytes()


def _after(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-after-power-loss")


# --- processes ---

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.support.crash_layer", "soundfile", "pyarrow.parquet", "pandas", "pytest"]
)


def begin(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Do a piece of work in a process of its own."""
    process: BaseProcess = _CONTEXT.Process(target=work, args=arguments)
    process.start()
    return process


def work_on(root: Path, environment: dict[str, str]) -> None:
    """Work on a run until its end."""
    os.environ.update(environment)
    asyncio.run(execute(RunDir(root)))


def ends(work: Callable[..., None], point: Point, *arguments: Any) -> bool:
    """Do a piece of work in a process that dies of it or ends well; True when it ended."""
    process = begin(work, point, *arguments)
    process.join(300)
    assert process.exitcode in (0, DIED), process.exitcode
    if _after(point.folder).exists():
        shutil.rmtree(point.folder)
        _after(point.folder).rename(point.folder)
    return process.exitcode == 0


def run_until(point: Point, root: Path, environment: dict[str, str]) -> None:
    """Work on a run in this process until the point is reached."""
    os.environ.update(environment)

    guard = Guard(point)

    async def watch(run: Run) -> None:
        guard.run = run
        await asyncio.Event().wait()

    asyncio.run(execute(RunDir(root), background=watch))
    guard.end()
    os._exit(0)


def prepare_until(
    point: Point, config: dict[str, Any], run_id: str, environment: dict[str, str]
) -> None:
    """Prepare a run in this process until the point is reached."""
    os.environ.update(environment)
    plan = make_plan(parse_config(config))
    guard = Guard(point)
    prepare_run(plan, run_id)
    guard.end()
    os._exit(0)
