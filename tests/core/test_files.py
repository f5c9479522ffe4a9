"""Files that are complete or absent, manifests and the background writer."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import UsageError
from mtl.files import (
    MANIFEST,
    BackgroundWriter,
    DamagedFolder,
    atomic_write,
    check_manifest,
    read_json,
    sweep,
    write_json,
    write_manifest,
)


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(OSError, match="full"), atomic_write(tmp_path / "value.json") as temporary:
        temporary.write_text("half")
        raise OSError("full")
    assert json.loads((tmp_path / "value.json").read_text()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


def test_a_folder_that_was_just_being_replaced_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".model-x1y2/old").mkdir(parents=True)
    (tmp_path / ".model-x1y2/old/weights").write_text("old")
    (tmp_path / "checkpoints/.step-00000003-zz").mkdir(parents=True)
    (tmp_path / "checkpoints/step-00000002").mkdir()
    sweep(tmp_path / "model")
    sweep(tmp_path / "checkpoints/step-*")
    assert (tmp_path / "model/weights").read_text() == "old"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    assert not list(tmp_path.glob(".*"))


def test_sweep_keeps_a_folder_that_was_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / ".model-x1y2/old").mkdir(parents=True)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("new")
    sweep(tmp_path / "model")
    assert (tmp_path / "model/weights").read_text() == "new" and not list(tmp_path.glob(".*"))


@given(content=st.binary(min_size=1, max_size=50), position=st.integers(0, 49), bit=st.integers(0, 7))
def test_a_manifest_sees_every_changed_bit(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, position: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "data").write_bytes(content)
    write_manifest(folder)
    check_manifest(folder, ["data"])
    damaged = bytearray(content)
    damaged[position % len(content)] ^= 1 << bit
    (folder / "data").write_bytes(damaged)
    with pytest.raises(DamagedFolder, match="is not what was written"):
        check_manifest(folder, ["data"])


@pytest.mark.parametrize("manifest", ["", "[]", "{", '{"data": 3}', "[" * 100_000])
def test_a_damaged_manifest_is_a_damaged_folder(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "data").write_text("x")
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(DamagedFolder):
        check_manifest(tmp_path, ["data"])


@pytest.mark.parametrize("text", ["", "[1]", "nul", "\ud800", "[" * 100_000, "9" * 5000])
def test_json_without_an_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "value.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match=r"value\.json"):
        read_json(tmp_path / "value.json")


def test_jobs_run_in_order_and_are_reported_by_the_users_own_thread() -> None:
    done: list[int] = []
    told: list[tuple[int, bool]] = []
    with BackgroundWriter() as writer:
        for number in range(5):
            writer.submit(
                lambda number=number: done.append(number),  # type: ignore[misc]
                lambda number=number: told.append(  # type: ignore[misc]
                    (number, threading.current_thread() is threading.main_thread())
                ),
            )
        writer.settle(wait=True)
    assert done == [0, 1, 2, 3, 4] and told == [(number, True) for number in range(5)]


def test_a_failed_job_is_raised_and_none_runs_after_it() -> None:
    done: list[str] = []
    begin = threading.Event()

    def fail() -> None:
        begin.wait()
        raise OSError("no space")

    with BackgroundWriter() as writer:
        writer.submit(fail)
        writer.submit(lambda: done.append("after"))
        begin.set()
        with pytest.raises(OSError, match="no space"):
            writer.settle(wait=True)
        writer.settle(wait=True)
    assert done == []


def test_a_slow_job_does_not_hold_up_its_user() -> None:
    release = threading.Event()
    with BackgroundWriter() as writer:
        writer.submit(lambda: release.wait(10) or None)
        writer.settle()
        release.set()
        writer.settle(wait=True)
    assert not any(thread.name.startswith("mtl-writer") for thread in threading.enumerate())
