"""The whole release but the upload: build, check, install, run, list what is in it.

`python scripts/release_check.py OUTPUT` leaves the distributions and `sbom.cdx.json` in OUTPUT. The
dependencies come from the configured package index; ours come from OUTPUT alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from versions import ROOT, distributions, problems, versions

TOOLS = Path(sys.executable).parent


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return its output; a failure ends the check and shows the output."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch(), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}")
    return done.stdout


def epoch() -> str:
    """Return the time of the last commit, which the archives carry."""
    asked = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done."""
    print(f"{what} ...", flush=True)
    yield


def build(output: Path) -> None:
    """Build the source archive and the wheel of each distribution."""
    for folder in distributions().values():
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", output, folder)


def archives(folder: Path) -> dict[str, str]:
    """Return the digests of the built files by name."""
    files = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def check_contents(output: Path) -> None:
    """Each wheel has its package, typed, its license and nothing else."""
    for wheel in output.glob("*.whl"):
        names = zipfile.ZipFile(wheel).namelist()
        tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
        typed = [name for name in names if name.endswith("/py.typed")]
        licenses = [name for name in names if name.endswith("/LICENSE")]
        if len(tops) != 1 or not typed or not licenses:
            sys.exit(f"{wheel.name}: must have one typed package and a license, but has {sorted(tops)}")


def install(output: Path, environment: Path) -> None:
    """Install the wheels into a fresh environment: the core alone, then all."""
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin/python"
    version = versions()["pytext-mtl"]
    install = [python, "-m", "pip", "install", "-q", "--no-input", "-c", ROOT / "constraints.txt"]
    ours = ["--find-links", output, "--only-binary", ",".join(distributions())]
    run(*install, *ours, f"pytext-mtl=={version}")
    run(environment / "bin/mtl", "plugins")
    run(*install, *ours, f"pytext-mtl[all]=={version}")
    run(python, "-m", "pip", "check")
    plugins = json.loads(run(environment / "bin/mtl", "plugins", "--json"))
    broken = [each for each in plugins["plugins"] if each["state"] != "ok"]
    missing = distributions().keys() - {each["distribution"] for each in plugins["plugins"]}
    if broken or missing:
        sys.exit(f"installed, but broken: {broken}, or without a plugin: {sorted(missing)}")


def use(environment: Path, folder: Path) -> None:
    """Do as a reader of the README does, without a clone."""
    mtl = environment / "bin/mtl"
    run(mtl, "data", "sample", "data/sample", cwd=folder)
    shutil.copy(ROOT / "configs/quickstart.json", folder)
    run(mtl, "train", "quickstart.json", "--base-dir", "data/sample", "--fast", cwd=folder)
    files = "data/sample/SST-2/train.tsv,data/sample/SST-2/dev.tsv"
    run(mtl, "init", "config.yaml", "--task", f"SST2=DocClassificationTask:{files}", cwd=folder)
    run(mtl, "config", "validate", "config.yaml", cwd=folder)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    output: Path = parser.parse_args().output.resolve()
    with step("versions"):
        if problems():
            sys.exit("\n".join(problems()))
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with step(f"building {len(distributions())} distributions, twice"):
            build(output)
            build(folder / "again")
        first, second = archives(output), archives(folder / "again")
        if first != second or len(first) != 2 * len(distributions()):
            differing = sorted(
                name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
            )
            sys.exit(f"two builds differ: {differing}")
        with step("contents and descriptions"):
            check_contents(output)
            run(TOOLS / "twine", "check", "--strict", *map(str, (output / each for each in first)))
        environment = folder / "environment"
        with step("installing into a fresh environment"):
            install(output, environment)
        with step("training there"):
            use(environment, folder)
        with step("listing what is in it"):
            sbom = output / "sbom.cdx.json"
            run(
                TOOLS / "cyclonedx-py",
                "environment",
                "--output-reproducible",
                "-o",
                sbom,
                environment / "bin/python",
            )
            listed = {each["name"] for each in json.loads(sbom.read_text())["components"]}
            if not distributions().keys() <= listed:
                sys.exit(f"{sbom}: lists {len(listed)} components, but not all of ours")
    print(f"ready: {len(first)} files and {sbom.name} in {output}")


if __name__ == "__main__":
    main()
