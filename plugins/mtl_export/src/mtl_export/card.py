"""The model card of an exported task, in the form that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl.errors import UsageError
from mtl.runs import dump, read_json

if TYPE_CHECKING:
    from mtl_export.exported import Export


def model_card(export: Export) -> str:
    """Return a README.md: what the model does, how well, on which data, and how it was made."""
    return "\n".join([*_front_matter(export), *_body(export)]) + "\n"


def _front_matter(export: Export) -> Iterator[str]:
    yield from ("---", "library_name: mtl", "tags:", "- multitask-learning", "- onnx", "---", "")


def _body(export: Export) -> Iterator[str]:
    result = _result(export.folder)
    component = export.run.tasks.components[export.task]
    others = [name for name in (result or {}).get("tasks", {}) if name != export.task]
    yield from (f"# {export.task}", "")
    together = f", trained together with {', '.join(others)}" if others else ""
    yield from (f"One task ({component.name}) of a model made with mtl{together}.", "")
    yield from ("## Use", "", "```sh", "pip install -r requirements.txt")
    yield from ("python predict.py < texts", "```", "")
    columns = ", ".join(f"`{column.name}` ({column.type.value})" for column in component.config.input_columns)
    yield from (f"A line is a text (several are separated by tabs) or a JSON object with {columns}.", "")
    yield from ("## Metrics", "")
    yield from _metrics(export.task, result)
    yield from ("## Training data", "", *_data(component.config.data.config), "")
    yield from ("## How it was made", "")
    yield from (f"- {line}" for line in _versions(result))
    yield from ("", "<details><summary>Config</summary>", "", "```json")
    yield json.dumps(_without_paths(dump(export.run.config)), indent=2, ensure_ascii=False)
    yield from ("```", "", "</details>", "", "## License", "")
    yield "State the license of the model here: it depends on the training data and on pretrained parts."


def _result(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json(folder / "result.json")
    except UsageError:
        return None


def _metrics(task: str, result: dict[str, Any] | None) -> Iterator[str]:
    scored = {split: (result or {}).get("tasks", {}).get(task, {}).get(split) for split in ("eval", "test")}
    scored = {split: metrics for split, metrics in scored.items() if metrics}
    if not scored:
        yield from ("The run has no result: it is not complete, or its folder was given as a model only.", "")
        return
    names = [
        name
        for name, value in next(iter(scored.values())).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    yield f"| metric | {' | '.join(scored)} |"
    yield f"|---|{'---|' * len(scored)}"
    for name in names:
        values = [metrics.get(name) for metrics in scored.values()]
        shown = (f"{value:.4g}" if isinstance(value, int | float) else "-" for value in values)
        yield f"| {name} | {' | '.join(shown)} |"
    yield ""
    if "eval" in scored:
        yield from ("The evaluation rows selected the model, so their metrics are slightly optimistic.", "")


def _data(config: Any) -> Iterator[str]:
    for split in ("train", "eval", "test"):
        files = ", ".join(f"`{Path(str(path)).name}`" for path in config.paths(split))
        if files:
            yield f"- {split}: {files}"


def _versions(result: dict[str, Any] | None) -> Iterator[str]:
    provenance = (result or {}).get("provenance") or {}
    versions = provenance.get("versions")
    if isinstance(versions, dict):
        yield "versions: " + ", ".join(f"{name} {version}" for name, version in versions.items())
    for name in ("python", "cpu", "gpu", "threads"):
        if provenance.get(name):
            yield f"{name}: {provenance[name]}"
    if result:
        yield f"steps: {result.get('steps')}, seconds: {result.get('seconds', {}).get('total', 0):.0f}"


def _without_paths(config: Any) -> Any:
    """Return a config without folders of the machine that it was made on."""
    if isinstance(config, dict):
        return {key: _without_paths(value) for key, value in config.items() if key != "base_dir"}
    if isinstance(config, list):
        return [_without_paths(value) for value in config]
    return Path(config).name if isinstance(config, str) and Path(config).is_absolute() else config
