"""From JSON with positions to strict config classes. Free of torch.

Public, for plugins that read other programs' configs, are the names below.
"""

from mtl.config.document import Document, describe
from mtl.config.json_path import JSONPath, render_path

__all__ = ["Document", "JSONPath", "describe", "render_path"]
