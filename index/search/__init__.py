from importlib.util import find_spec

from atlas.core.errors import UserError

if find_spec("faiss") is None:  # two wheels exclude each other, so neither is a plain requirement
    raise UserError("faiss is not installed: pip install '.[cpu]', or '.[gpu]' on a CUDA machine")
