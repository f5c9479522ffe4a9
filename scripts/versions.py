"""Check or set the version of all distributions: `python scripts/versions.py [NEW]`.

They move together: a distribution needs the others in its own minor version, as in `pytext-mtl>=0.1,<0.2`.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def distributions() -> dict[str, Path]:
    """Return the folders of the distributions that are released, by name; the core first."""
    folders = [ROOT / "core", *sorted(ROOT.glob("plugins/*")), *sorted(ROOT.glob("pytext_plugins_*"))]
    files = [folder / "pyproject.toml" for folder in folders if (folder / "pyproject.toml").exists()]
    return {tomllib.loads(file.read_text())["project"]["name"]: file.parent for file in files}


def versions() -> dict[str, str]:
    """Return the version of each distribution, and that of the citation."""
    found = {
        name: tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
        for name, folder in distributions().items()
    }
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    return {**found, "CITATION.cff": cited[1] if cited else "none"}


def bounds(version: str) -> str:
    """Return the versions that go with one: `>=0.1,<0.2` with 0.1.3."""
    major, minor = map(int, version.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}"


def problems() -> list[str]:
    """Return what does not fit together."""
    found = versions()
    version = found["pytext-mtl"]
    wrong = [f"{name} is {other}, not {version}" for name, other in found.items() if other != version]
    expected = bounds(version)
    for name, folder in distributions().items():
        text = (folder / "pyproject.toml").read_text()
        for other, stated in _bound_pattern().findall(text):
            if stated != expected:
                wrong.append(f"{name} needs {other}{stated}, not {other}{expected}")
    return wrong


def set_version(version: str) -> list[Path]:
    """Write a version into all files that state it, and return these files."""
    tracked = subprocess.run(
        ["git", "ls-files", "*.toml", "*.md", "*.cff", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    changed = []
    for path in (ROOT / line for line in tracked.stdout.splitlines()):
        text = path.read_text(encoding="utf-8")
        new = _bound_pattern().sub(rf"\1{bounds(version)}", text)
        if path in {folder / "pyproject.toml" for folder in distributions().values()}:
            new = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', new, count=1)
        elif path.name == "CITATION.cff":
            new = re.sub(r"(?m)^version: .*$", f"version: {version}", new)
        elif path == ROOT / "CHANGELOG.md" and f"\n## {version} " not in new:
            today = datetime.date.today().isoformat()
            new = new.replace("\n## Unreleased\n", f"\n## Unreleased\n\n## {version} ({today})\n", 1)
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def _bound_pattern() -> re.Pattern[str]:
    names = "|".join(map(re.escape, distributions()))
    return re.compile(rf"\b({names})(>=\d+\.\d+,<\d+\.\d+)")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", metavar="NEW", help="as in 0.2.0 or 0.2.0rc1")
    version = parser.parse_args().version
    if version is not None:
        if not VERSION.fullmatch(version):
            parser.error(f"NEW must be a version such as 0.2.0 or 0.2.0rc1, but is {version}")
        for path in set_version(version):
            print(path.relative_to(ROOT))
    wrong = problems()
    print("\n".join(wrong) or f"all {len(distributions())} distributions are {versions()['pytext-mtl']}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
