from importlib.util import find_spec

from atlas.core.errors import UserError, install_command

if find_spec("faiss") is None:  # two wheels exclude each other, so neither is a plain requirement
    raise UserError(
        f"faiss is not installed: {install_command('cpu')} brings it; on a machine with CUDA, "
        f"{install_command('gpu')} does"
    )
