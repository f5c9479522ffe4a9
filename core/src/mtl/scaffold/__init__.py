"""`mtl plugins new`: a complete plugin from the templates beside this file. Free of torch."""

from mtl.scaffold.parts import PARTS
from mtl.scaffold.render import render_plugin, write_plugin

__all__ = ["PARTS", "render_plugin", "write_plugin"]
