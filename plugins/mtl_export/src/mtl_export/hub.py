"""Upload an exported folder to the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

from mtl.errors import MtlError, UsageError
from mtl_export.exported import export

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"


def push(run: Path | str, repository: str, *, task: str | None = None, private: bool = False) -> str:
    """Export a task of a run as a folder, upload it in one commit, and return its address.

    The repository is made if it does not exist. Raises `UsageError` for a name of another form and what
    `export` raises, `MtlError` if the Hub refuses the upload.
    """
    if not re.fullmatch(f"{_NAME}/{_NAME}", repository):
        raise UsageError(f"`REPOSITORY` must be OWNER/NAME, but is {repository!r}")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with TemporaryDirectory(prefix="mtl-push-") as folder:
        exported = export(run, Path(folder) / "folder", task=task)
        disable_progress_bars()
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository, folder_path=exported.path, commit_message=f"Upload {exported.task}"
            )
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise MtlError(f"{repository}: cannot be uploaded: {type(error).__name__}: {reason}") from error
    return f"{api.endpoint}/{repository}"
